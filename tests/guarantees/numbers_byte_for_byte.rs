//! A worker's object reaches clients byte for byte: no number, field or white space is reformatted.

use crate::support::{Redis, TestGateway};

#[tokio::test(flavor = "multi_thread")]
async fn the_object_is_spliced_not_reprinted() {
    let redis = Redis::start().await;
    let gateway = TestGateway::on(&redis, |_| {}).await;
    let mut worker = redis.publisher().await;
    let mut client = gateway.subscriber(&["AAPL"]).await;
    let objects = [
        r#"{"symbol":"AAPL","price":150.250,"volume":100,"timestamp":1}"#,
        r#"{"symbol":"AAPL","price":1e-7,"volume":9007199254740993,"timestamp":18446744073709551616}"#,
        r#"{"symbol":"AAPL","price":-0.0,"volume":0.10,"timestamp":1E3}"#,
        r#"{"symbol":"AAPL","price":123456789012345678901234567890.123456789,"volume":1,"timestamp":1}"#,
        "{ \"symbol\" : \"AAPL\",\n\t\"price\" : 1 , \"volume\":2,\"timestamp\":3, \"x\":{\"y\":[1,null,\"\\u00e9é😀\"]} }",
        r#"{"timestamp":3,"volume":2,"price":1,"symbol":"aapl","exchange":null,"seq":12}"#,
        r#"{"symbol":"\u0041APL","price":1,"volume":2,"timestamp":3,"price2":1.0}"#,
    ];
    for object in objects {
        worker.trade("AAPL", object).await;
        let text = client.text().await;
        let data = text.strip_prefix(r#"{"type":"trade","data":"#).unwrap_or_else(|| panic!("{text}"));
        let (data, stamp) = data.rsplit_once(r#","timestamp":"#).unwrap();
        assert_eq!(data, object);
        stamp.strip_suffix('}').and_then(|stamp| stamp.parse::<u64>().ok()).expect("the gateway's clock");
    }
}
