//! A webhook that takes what it gets.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// One message.
#[derive(Clone, Debug)]
pub struct Received {
    pub signature: String,
    pub body: Vec<u8>,
}

impl Received {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// Listens until it is dropped.
pub struct Hook {
    pub url: String,
    received: Arc<Mutex<Vec<Received>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Hook {
    /// On a free port. The first messages get the given answers, such as `503 Unavailable`, all others `204`.
    pub async fn start(answers: &[&str]) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/hook?team=ops", listener.local_addr()?);
        let received = Arc::new(Mutex::new(Vec::new()));
        let kept = received.clone();
        let mut answers: Vec<String> = answers.iter().rev().map(ToString::to_string).collect();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let answer = answers.pop().unwrap_or_else(|| "204 No Content".to_owned());
                let mut stream = BufReader::new(stream);
                // Whoever breaks off has said nothing.
                if let Ok(message) = take(&mut stream).await {
                    // Before it is answered: who counts answers finds it here.
                    kept.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(message);
                    stream.write_all(reply(&answer).as_bytes()).await.ok();
                }
            }
        });
        Ok(Self {
            url,
            received,
            task,
        })
    }

    pub fn received(&self) -> Vec<Received> {
        let received = self.received.lock();
        received.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn reply(answer: &str) -> String {
    format!(
        "HTTP/1.1 {answer}\r\nconnection: close\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n"
    )
}

async fn take(stream: &mut BufReader<TcpStream>) -> Result<Received> {
    let mut signature = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let line = line.trim().to_owned();
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(": ") {
            match name.to_lowercase().as_str() {
                "tidegate-signature" => value.clone_into(&mut signature),
                "content-length" => length = value.parse()?,
                _ => {}
            }
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Received { signature, body })
}
