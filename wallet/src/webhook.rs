//! Posting JSON to a receiver on this machine.
//!
//! A webhook leaves the chain's own post-quantum links, so that it stays on this machine: what carries it further is a
//! relay of the user's choice.

use std::{net::SocketAddr, time::Duration};

use http::{Request, Uri, header};
use http_body_util::Full;
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::net::TcpStream;

use crate::error::{Result, WalletError};

/// How long a receiver may take for one message.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where messages go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    address: SocketAddr,
    path: String,
}

impl Webhook {
    /// Reads `http://127.0.0.1:PORT/PATH` or `http://[::1]:PORT/PATH`.
    ///
    /// # Errors
    /// [`WalletError::Usage`] for anything else.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |reason: &str| WalletError::Usage(format!("webhook {text}: {reason}"));
        let uri: Uri = text.parse().map_err(|_| wrong("this is no address"))?;
        if uri.scheme_str() != Some("http") {
            return Err(wrong("it begins with http://, and a relay on this machine carries it further"));
        }
        let authority = uri.authority().ok_or_else(|| wrong("it has no host"))?;
        let address: SocketAddr =
            authority.as_str().parse().map_err(|_| wrong("host and port are numbers, such as 127.0.0.1:8080"))?;
        if !address.ip().is_loopback() {
            return Err(wrong("it is not on this machine (127.0.0.1 or [::1])"));
        }
        Ok(Self { address, path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned() })
    }

    /// Posts one message and waits for the receiver's answer.
    ///
    /// # Errors
    /// [`WalletError::Webhook`] when the receiver is not there, does not answer in time or refuses.
    pub async fn post(&self, message: &impl Serialize) -> Result<()> {
        let body = serde_json::to_vec(message).map_err(|error| WalletError::Output(error.into()))?;
        match tokio::time::timeout(PATIENCE, self.send(body)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(reason)) => Err(self.failed(reason)),
            Err(_) => Err(self.failed(format!("no answer within {} s", PATIENCE.as_secs()))),
        }
    }

    async fn send(&self, body: Vec<u8>) -> std::result::Result<(), String> {
        let stream = TcpStream::connect(self.address).await.map_err(|error| error.to_string())?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        let request = Request::post(&self.path)
            .header(header::HOST, self.address.to_string())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONNECTION, "close")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| error.to_string())?;
        let line = tokio::spawn(connection);
        let answer = sender.send_request(request).await.map_err(|error| error.to_string());
        line.abort();
        let status = answer?.status();
        if status.is_success() { Ok(()) } else { Err(format!("the receiver answered {status}")) }
    }

    fn failed(&self, reason: String) -> WalletError {
        WalletError::Webhook { address: format!("http://{}{}", self.address, self.path), reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    #[test]
    fn only_receivers_on_this_machine_are_taken() {
        for wrong in
            ["127.0.0.1:80", "https://127.0.0.1:80/", "http://192.0.2.1:80/", "http://localhost:80/", "http:///x", "x"]
        {
            assert!(matches!(Webhook::parse(wrong), Err(WalletError::Usage(_))), "{wrong}");
        }
        let good = Webhook::parse("http://[::1]:8080/hook?to=me").unwrap();
        assert_eq!((good.address.port(), good.path.as_str()), (8080, "/hook?to=me"));
        assert_eq!(Webhook::parse("http://127.0.0.1:1").unwrap().path, "/");
    }

    /// A receiver that reads one request and answers with a status line.
    async fn receiver(answer: &'static str) -> (SocketAddr, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let reading = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"}") {
                let mut part = [0; 1024];
                let count = stream.read(&mut part).await.unwrap();
                assert!(count > 0, "the request ends early");
                request.extend_from_slice(&part[..count]);
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8(request).unwrap()
        });
        (address, reading)
    }

    #[tokio::test]
    async fn a_message_arrives_as_json_and_a_refusal_is_an_error() {
        let message = serde_json::json!({ "number": 7 });
        let (address, request) = receiver("HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n").await;
        Webhook::parse(&format!("http://{address}/in")).unwrap().post(&message).await.unwrap();
        let request = request.await.unwrap();
        assert!(request.starts_with("POST /in HTTP/1.1\r\n") && request.ends_with(r#"{"number":7}"#), "{request}");

        let (address, request) = receiver("HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n").await;
        let refused = Webhook::parse(&format!("http://{address}/")).unwrap().post(&message).await.unwrap_err();
        assert!(refused.to_string().contains("500"), "{refused}");
        request.await.unwrap();
    }
}
