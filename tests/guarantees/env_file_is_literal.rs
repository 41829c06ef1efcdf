//! The values in `.env` are literal, character by character: a `$` in a password stands for no variable, and the embedded
//! broker asks for exactly that password.

use std::process::Command;

use crate::support::process::Process;

#[tokio::test(flavor = "multi_thread")]
async fn a_password_with_a_dollar_is_asked_for() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join(".env"), "EMBEDDED_REDIS_PASSWORD=$ecret77\n").expect("a file");
    let mut shell = Command::new("/bin/sh");
    let binary = env!("CARGO_BIN_EXE_ws-gateway");
    shell.args(["-c", "cd \"$0\" && exec \"$@\"", directory.path().to_str().expect("UTF-8"), binary]);
    let gateway = Process::launch_ready(shell, &["--embedded-redis-port", "0"]).await;

    let publish = async |password: &str| {
        let url = format!("redis://:{password}@{}", gateway.broker_addr());
        let client = redis::Client::open(url).expect("a URL");
        let mut worker = client.get_multiplexed_async_connection().await?;
        redis::cmd("PUBLISH").arg(&["channel:trade:AAPL", "{}"]).query_async::<u32>(&mut worker).await
    };
    assert_eq!(publish("$ecret77").await.expect("the password is right"), 1);
    for wrong in ["", "ecret77", "$"] {
        let error = publish(wrong).await.expect_err("a refusal").to_string();
        assert!(
            error.contains("Authentication required") || error.contains("authentication failed"),
            "{error}"
        );
    }
}
