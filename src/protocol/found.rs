//! What a worker's object has for a dialect: the fields that it asks for, each at its place. Pure.

use super::moment::Moment;
use super::object::Value;
use super::worker::{elements, integer, is_number, is_text, members};

/// Most fields that can be asked for.
pub const FIELDS_MAX: usize = 12;

/// Fields of a worker's object, as JSON.
#[derive(Debug, Default)]
pub struct Found<'o>([Option<&'o str>; FIELDS_MAX]);

impl<'o> Found<'o> {
    /// Looks for fields of these names, at most [`FIELDS_MAX`]. Of several with one name the first counts.
    #[inline]
    pub fn of(object: &'o str, fields: &[&str]) -> Self {
        let mut found = Self::default();
        for (name, value) in members(object) {
            let place = fields.iter().position(|field| *field == name);
            if let Some(found) = place.and_then(|place| found.0.get_mut(place)) {
                found.get_or_insert(value);
            }
        }
        found
    }

    /// The value at a place, if it is a string.
    pub fn text(&self, place: usize) -> Option<Value<'o>> {
        self.0[place].filter(|raw| is_text(raw)).map(Value::RawText)
    }

    /// The value at a place, if it is a number.
    pub fn number(&self, place: usize) -> Option<Value<'o>> {
        self.0[place].filter(|raw| is_number(raw)).map(Value::Number)
    }

    /// The same, as a text.
    pub fn quoted(&self, place: usize) -> Option<Value<'o>> {
        self.0[place].filter(|raw| is_number(raw)).map(Value::Quoted)
    }

    /// The value at a place, if it is a number; to be an integer if it is one.
    pub fn amount(&self, place: usize) -> Option<Value<'o>> {
        self.0[place].filter(|raw| is_number(raw)).map(Value::Amount)
    }

    /// The value at a place, if it is an array of strings.
    pub fn texts(&self, place: usize) -> Option<&'o str> {
        self.0[place].filter(|raw| elements(raw).is_some_and(|mut all| all.all(is_text)))
    }

    /// The moment at a place, in Unix milliseconds.
    pub fn moment(&self, place: usize) -> Option<Moment> {
        self.0[place].and_then(Moment::parse)
    }

    /// The value at a place, if it is an array of integers.
    pub fn integers(&self, place: usize) -> Option<Value<'o>> {
        let is_list =
            |raw: &&str| elements(raw).is_some_and(|mut all| all.all(|each| integer(each).is_some()));
        self.0[place].filter(is_list).map(Value::Raw)
    }

    /// The value at a place, if it is an integer.
    pub fn integer(&self, place: usize) -> Option<Value<'o>> {
        self.0[place].and_then(integer).map(Value::Integer)
    }

    /// The value at a place, as it is written.
    pub fn at(&self, place: usize) -> Option<&'o str> {
        self.0[place]
    }
}
