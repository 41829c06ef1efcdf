//! Loads a gateway and checks every event; see [`ws_load`].

use std::process::ExitCode;

use clap::Parser as _;
use tools::term::end;
use ws_load::Options;
use ws_load::dialect::Gateway;
use ws_load::forms::{
    Alpaca, AlpacaMsgpack, Batch, Binance, Deflated, Finnhub, FormName, Json, Massive, SocketIo, Sse,
};

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match options.form {
        FormName::Json => ws_load::main::<Gateway<Json>>(&options),
        FormName::Batch => ws_load::main::<Gateway<Batch>>(&options),
        FormName::Sse => ws_load::main::<Gateway<Sse>>(&options),
        FormName::JsonDeflate => ws_load::main::<Gateway<Deflated<Json>>>(&options),
        FormName::BatchDeflate => ws_load::main::<Gateway<Deflated<Batch>>>(&options),
        FormName::Alpaca => ws_load::main::<Gateway<Alpaca>>(&options),
        FormName::AlpacaDeflate => ws_load::main::<Gateway<Deflated<Alpaca>>>(&options),
        FormName::AlpacaMsgpack => ws_load::main::<Gateway<AlpacaMsgpack>>(&options),
        FormName::AlpacaMsgpackDeflate => ws_load::main::<Gateway<Deflated<AlpacaMsgpack>>>(&options),
        FormName::Binance => ws_load::main::<Gateway<Binance>>(&options),
        FormName::Finnhub => ws_load::main::<Gateway<Finnhub>>(&options),
        FormName::FinnhubDeflate => ws_load::main::<Gateway<Deflated<Finnhub>>>(&options),
        FormName::Massive => ws_load::main::<Gateway<Massive>>(&options),
        FormName::MassiveDeflate => ws_load::main::<Gateway<Deflated<Massive>>>(&options),
        FormName::Socketio => ws_load::main::<Gateway<SocketIo>>(&options),
        FormName::SocketioDeflate => ws_load::main::<Gateway<Deflated<SocketIo>>>(&options),
    };
    end("ws-load", done)
}
