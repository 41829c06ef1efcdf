//! Trades that one event stands for, for clients that conflate with totals: what is added up of an event, and an event with totals, in each form
//! that has words for them. Pure.

use std::num::NonZeroU32;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::binance;
use super::form::{self, object_of};
use super::native::event::Marker;
use crate::market::{BinanceStream, Encoding, Form};

/// What is added up of a trade. Numbers are JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trade<'e> {
    /// Its price.
    pub price: &'e str,
    /// Its volume.
    pub volume: &'e str,
    /// Its time, in the unit of the form.
    pub timestamp: &'e str,
    /// Its number, in forms that name the first of several.
    pub first_id: Option<&'e str>,
    /// Whether the seller took, in forms that say so and where it is known.
    pub taker_sells: Option<bool>,
}

/// Several trades, added up. Numbers are JSON.
#[derive(Debug, Clone, Copy)]
pub struct Totals<'t> {
    /// How many they are.
    pub count: u64,
    /// The sum of their volumes.
    pub volume: &'t str,
    /// The highest price.
    pub high: &'t str,
    /// The lowest price.
    pub low: &'t str,
    /// The average price by volume; `null` if there is none.
    pub vwap: &'t str,
    /// The time of the first one.
    pub first_timestamp: &'t str,
    /// The number of the first one: see [`Trade::first_id`].
    pub first_id: Option<&'t str>,
    /// Whether the seller took, if it is known of all and the same for all.
    pub taker_sells: Option<bool>,
}

impl Totals<'_> {
    /// As a JSON object, which is the same in every form.
    pub fn object(&self) -> String {
        let Self { count, volume, high, low, vwap, first_timestamp, .. } = self;
        format!(
            r#"{{"count":{count},"volume":{volume},"high":{high},"low":{low},"vwap":{vwap},"firstTimestamp":{first_timestamp}}}"#
        )
    }
}

/// The gateway's own object of a trade.
#[derive(Deserialize)]
struct Envelope<'f> {
    #[serde(borrow)]
    data: &'f RawValue,
    timestamp: u64,
    /// Of a delayed feed.
    #[serde(rename = "delayedMs")]
    delayed_ms: Option<NonZeroU32>,
}

/// What the worker has sent.
#[derive(Deserialize)]
struct Sent<'f> {
    #[serde(borrow)]
    price: &'f RawValue,
    #[serde(borrow)]
    volume: &'f RawValue,
    #[serde(borrow)]
    timestamp: &'f RawValue,
}

/// Gives what is added up of a trade's event in a form to `with`; `None` if the form has no words for totals, or the object has a field twice.
pub fn read<R>(form: Form, event: &[u8], with: impl FnOnce(Trade<'_>) -> Option<R>) -> Option<R> {
    if let Encoding::Binance(_, stream) = form.encoding() {
        return binance::sums::read(event).filter(|_| stream == BinanceStream::AggTrades).and_then(with);
    }
    let object = object_of(form, event);
    let envelope: Envelope<'_> = serde_json::from_slice(&object).ok()?;
    let sent: Sent<'_> = serde_json::from_str(envelope.data.get()).ok()?;
    let (price, volume, timestamp) = (sent.price.get(), sent.volume.get(), sent.timestamp.get());
    with(Trade { price, volume, timestamp, first_id: None, taker_sells: None })
}

/// The event of the newest of several trades, which is in that form, with the totals of all, not compressed.
pub fn with_totals(form: Form, newest: &[u8], totals: &Totals<'_>) -> Option<Vec<u8>> {
    if let Encoding::Binance(_, stream) = form.encoding() {
        return binance::sums::with_totals(newest, totals).filter(|_| stream == BinanceStream::AggTrades);
    }
    let object = object_of(form, newest);
    let envelope: Envelope<'_> = serde_json::from_slice(&object).ok()?;
    let totals = totals.object();
    let marker = Marker::conflated(&totals).delayed(envelope.delayed_ms);
    Some(form::with_marker(form, newest, envelope.data.get(), envelope.timestamp, marker))
}
