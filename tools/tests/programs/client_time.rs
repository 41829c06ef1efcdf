//! What the client does when time passes, with the clock in our hands: a link on which nothing comes any more, not
//! even a ping, is left for a new one, and `--duration` ends it with a proper good-bye.

use crate::common::soon;
use clap::Parser as _;
use futures_util::StreamExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tools::client::{self, Options};
use tools::term::Stop;

async fn accept_and_read_request(listener: &TcpListener) -> (WebSocketStream<TcpStream>, String) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        // While time is paused an attempt of the client can run out of it half-way: the next one comes.
        let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { continue };
        if let Some(Ok(request)) = socket.next().await {
            return (socket, request.into_text().unwrap().to_string());
        }
    }
}

#[tokio::test]
async fn silence_is_a_dead_link() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/ws", listener.local_addr().unwrap());
    let options = Options::parse_from(["ws-client", "--url", &url, "--no-swap"]);
    let (stop, stopped) = Stop::by_hand();
    let client = tokio::spawn(async move { client::run(&options, stopped).await });

    let (mut socket, first) = accept_and_read_request(&listener).await;
    // Nobody has anything to do now but to wait, so the clock leaps to the end of the client's patience.
    tokio::time::pause();
    assert!(
        !matches!(socket.next().await, Some(Ok(_))),
        "the client leaves without a word: nobody would hear it"
    );
    tokio::time::resume();

    let (socket, again) = soon("another connection", accept_and_read_request(&listener)).await;
    assert_eq!(again, first);
    drop(stop);
    drop(socket);
    assert!(soon("the end", client).await.unwrap().is_ok());
}

#[tokio::test]
async fn the_end_of_the_duration_closes_the_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/ws", listener.local_addr().unwrap());
    let options = Options::parse_from(["ws-client", "--url", &url, "--no-swap", "--duration", "60s"]);
    let (_stop, stopped) = Stop::by_hand();
    let client = tokio::spawn(async move { client::run(&options, stopped).await });

    let (mut socket, _) = accept_and_read_request(&listener).await;
    tokio::time::pause();
    let Some(Ok(Message::Close(Some(frame)))) = socket.next().await else { panic!("not a close frame") };
    assert_eq!(u16::from(frame.code), 1000);
    drop(socket);
    tokio::time::resume();
    assert!(soon("the end", client).await.unwrap().is_ok());
}
