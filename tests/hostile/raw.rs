//! Octets over TLS, as they are, and what came back until the gateway closed.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::table::Answer;
use crate::wire::{Certificate, Reply, Wire};

/// Everything that the gateway sent, and whether it closed the connection afterwards.
pub struct Told {
    pub octets: Vec<u8>,
    pub closed: bool,
}

/// Sends `octets` and reads to the end. A gateway that has not closed after half a minute never does.
pub async fn tell(wire: &Wire, certificate: Option<&Certificate>, octets: &[u8]) -> Told {
    tell_until(wire, certificate, octets, |_| false).await
}

/// The same, until what was read is enough.
pub async fn tell_until(
    wire: &Wire,
    certificate: Option<&Certificate>,
    octets: &[u8],
    enough: impl Fn(&[u8]) -> bool,
) -> Told {
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(wire.tls(certificate)));
    let tcp = tokio::net::TcpStream::connect(("127.0.0.1", wire.port)).await.expect("connected");
    tcp.set_nodelay(true).expect("nodelay");
    let name = ServerName::try_from("localhost").expect("a name");
    let stream = connector.connect(name, tcp).await.expect("a handshake");
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut told = Told { octets: Vec::new(), closed: false };
    let reading = async {
        let mut buffer = [0; 16 * 1024];
        while let Ok(length @ 1..) = reader.read(&mut buffer).await {
            told.octets.extend_from_slice(&buffer[..length]);
            if enough(&told.octets) {
                return;
            }
        }
        told.closed = true; // whether by an orderly end or not
    };
    // Written while reading: it may be refused before all of it is sent.
    let writing = async {
        let _ = writer.write_all(octets).await;
        let _ = writer.flush().await;
        std::future::pending::<()>().await;
    };
    let both = async {
        tokio::select! { () = reading => {}, () = writing => {} }
    };
    let _ = tokio::time::timeout(Duration::from_secs(30), both).await;
    told
}

impl Told {
    /// The one HTTP/1.1 answer; a second one, or an open connection, is a problem.
    pub fn answer(self, recorded: bool) -> Answer {
        let Some((reply, rest)) = first(&self.octets) else {
            let code = if self.octets.is_empty() { "nothing came back" } else { "no whole answer came back" };
            return Answer::none(code);
        };
        let mut answer = Answer::of(&reply, recorded);
        if (200..300).contains(&answer.status) {
            answer.status = 200;
        }
        if !rest.is_empty() {
            answer.problem = Some(format!("a second answer: {}", String::from_utf8_lossy(rest)));
        }
        if !self.closed {
            answer.problem = Some("the connection stayed open".to_owned());
        }
        answer
    }
}

/// The first answer and what came after it. Interim answers (100) are passed over.
fn first(octets: &[u8]) -> Option<(Reply, &[u8])> {
    let end = octets.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&octets[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status: u16 = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    if status == 100 {
        return first(&octets[end..]);
    }
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        headers.append(HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value.trim()).ok()?);
    }
    let (body, rest) = match headers.get("content-length") {
        Some(length) => octets[end..].split_at_checked(length.to_str().ok()?.parse().ok()?)?,
        // Chunked, from the tool: whole when the last chunk is there.
        None if octets.ends_with(b"0\r\n\r\n") => (&octets[end..], &octets[octets.len()..]),
        None => (&octets[end..end], &octets[end..]),
    };
    Some((Reply { status, headers, body: Bytes::copy_from_slice(body) }, rest))
}
