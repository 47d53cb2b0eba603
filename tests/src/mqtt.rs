//! An MQTT 3.1.1 client that says what the broker did, and never reconnects.
//!
//! MQTT 3.1.1 knows no negative acknowledgement of a publish, and some brokers (RabbitMQ) refuse a subscription by closing
//! the connection: a closed connection is therefore an answer here, and only silence is a failed test.

use std::collections::VecDeque;
use std::fmt;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event, EventLoop, MqttOptions, Packet, Publish, QoS,
    SubscribeReasonCode,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;
use tokio::time::timeout;

pub use rumqttc;

/// A broker that asks a backend several times per request answers well within this.
const LIMIT: Duration = Duration::from_secs(20);
const LARGEST_PACKET: usize = 1 << 20;

/// A connected client. Dropping it closes the connection without a `DISCONNECT`, so that a will is published.
#[derive(Debug)]
pub struct Client {
    requests: AsyncClient,
    packets: UnboundedReceiver<Packet>,
    messages: VecDeque<Publish>,
    connection: AbortHandle,
}

/// The broker kept a client out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectRefused {
    /// It answered with this `CONNACK` code.
    Code(ConnectReturnCode),
    /// It closed the connection without a `CONNACK`.
    Closed,
}

/// The broker did not grant a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscribeRefused {
    /// Its `SUBACK` says failure.
    Suback,
    /// It closed the connection.
    Closed,
}

/// The broker closed the connection instead of answering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

impl Client {
    /// Connects with a clean session.
    pub async fn connect(
        broker: SocketAddr,
        client_id: &str,
        username: &str,
        password: &str,
    ) -> Result<Self, ConnectRefused> {
        Self::connect_with(broker, client_id, username, password, |_| ()).await
    }

    /// Connects with other options than usual: a will, a session that stays, no credentials.
    pub async fn connect_with(
        broker: SocketAddr,
        client_id: &str,
        username: &str,
        password: &str,
        change: impl FnOnce(&mut MqttOptions),
    ) -> Result<Self, ConnectRefused> {
        let mut options = MqttOptions::new(client_id, broker.ip().to_string(), broker.port());
        options.set_credentials(username, password).set_max_packet_size(LARGEST_PACKET, LARGEST_PACKET);
        change(&mut options);
        let (requests, mut events) = AsyncClient::new(options, 100);
        // One small packet at a time, and its answer: neither side should wait for more.
        events.network_options.set_tcp_nodelay(true);
        let answer = timeout(LIMIT, connack(&mut events)).await;
        answer.unwrap_or_else(|_| panic!("no CONNACK from {broker} for `{client_id}` within {LIMIT:?}"))?;
        let (sender, packets) = unbounded_channel();
        let connection = tokio::spawn(receive(events, sender)).abort_handle();
        Ok(Self { requests, packets, messages: VecDeque::new(), connection })
    }

    /// Subscribes to one filter.
    pub async fn subscribe(&mut self, filter: &str, qos: QoS) -> Result<(), SubscribeRefused> {
        self.requests
            .subscribe(filter, qos)
            .await
            .unwrap_or_else(|error| panic!("cannot subscribe to `{filter}`: {error}"));
        match self.answer("SUBACK", |packet| matches!(packet, Packet::SubAck(_))).await {
            Ok(Packet::SubAck(ack)) if ack.return_codes.contains(&SubscribeReasonCode::Failure) => {
                Err(SubscribeRefused::Suback)
            }
            Ok(_) => Ok(()),
            Err(Closed) => Err(SubscribeRefused::Closed),
        }
    }

    /// Ends a subscription.
    pub async fn unsubscribe(&mut self, filter: &str) -> Result<(), Closed> {
        self.requests.unsubscribe(filter).await.map_err(|_| Closed)?;
        self.answer("UNSUBACK", |packet| matches!(packet, Packet::UnsubAck(_))).await.map(drop)
    }

    /// Publishes at least once: `Ok` means that the broker took it.
    pub async fn publish(&mut self, topic: &str, payload: &str) -> Result<(), Closed> {
        self.publish_with(topic, payload, QoS::AtLeastOnce, false).await
    }

    /// Publishes with a quality of service and a retain flag. At most once, nobody tells whether the broker took it: see [`Self::wait_closed`].
    pub async fn publish_with(&mut self, topic: &str, payload: &str, qos: QoS, retain: bool) -> Result<(), Closed> {
        self.requests
            .publish(topic, qos, retain, payload)
            .await
            .unwrap_or_else(|error| panic!("cannot publish to `{topic}`: {error}"));
        match qos {
            QoS::AtMostOnce => Ok(()),
            QoS::AtLeastOnce => self.answer("PUBACK", |packet| matches!(packet, Packet::PubAck(_))).await.map(drop),
            QoS::ExactlyOnce => self.answer("PUBCOMP", |packet| matches!(packet, Packet::PubComp(_))).await.map(drop),
        }
    }

    /// The next message that arrived or arrives within `limit`.
    pub async fn next_message(&mut self, limit: Duration) -> Option<Message> {
        if let Some(publish) = self.messages.pop_front() {
            return Some(Message::from(publish));
        }
        let arrival = async {
            loop {
                if let Packet::Publish(publish) = self.packets.recv().await? {
                    return Some(Message::from(publish));
                }
            }
        };
        timeout(limit, arrival).await.ok().flatten()
    }

    /// Whether the broker closes the connection within `limit`.
    pub async fn wait_closed(&mut self, limit: Duration) -> bool {
        let end = async {
            while let Some(packet) = self.packets.recv().await {
                self.keep(packet);
            }
        };
        timeout(limit, end).await.is_ok()
    }

    /// Says goodbye: no will is published.
    pub async fn disconnect(mut self) {
        // Fails only when the connection is gone already.
        let _ = self.requests.disconnect().await;
        self.wait_closed(LIMIT).await;
    }

    /// Waits for the packet that `is_answer` accepts; messages that come in between are kept.
    async fn answer(&mut self, what: &str, is_answer: fn(&Packet) -> bool) -> Result<Packet, Closed> {
        let answer = async {
            loop {
                let packet = self.packets.recv().await.ok_or(Closed)?;
                if is_answer(&packet) {
                    return Ok(packet);
                }
                self.keep(packet);
            }
        };
        timeout(LIMIT, answer)
            .await
            .unwrap_or_else(|_| panic!("neither {what} nor a closed connection within {LIMIT:?}"))
    }

    fn keep(&mut self, packet: Packet) {
        if let Packet::Publish(publish) = packet {
            self.messages.push_back(publish);
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// A message that a client received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The topic it was published to.
    pub topic: String,
    /// The payload, with bytes that are not UTF-8 replaced.
    pub payload: String,
    /// Whether it was kept by the broker from before the subscription.
    pub retained: bool,
}

impl From<Publish> for Message {
    fn from(publish: Publish) -> Self {
        Self {
            topic: publish.topic,
            payload: String::from_utf8_lossy(&publish.payload).into_owned(),
            retained: publish.retain,
        }
    }
}

impl fmt::Display for ConnectRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "the broker refused the connection: {code:?}"),
            Self::Closed => write!(f, "the broker closed the connection without a CONNACK"),
        }
    }
}

impl std::error::Error for ConnectRefused {}

async fn connack(events: &mut EventLoop) -> Result<(), ConnectRefused> {
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => return Ok(()),
            Ok(_) => {}
            Err(ConnectionError::ConnectionRefused(code)) => return Err(ConnectRefused::Code(code)),
            Err(ConnectionError::Io(error)) if error.kind() == ErrorKind::ConnectionRefused => {
                panic!("no broker listens: {error}")
            }
            Err(ConnectionError::NetworkTimeout) => panic!("the broker did not answer in time"),
            Err(_) => return Err(ConnectRefused::Closed),
        }
    }
}

/// Passes packets on until the connection ends, which drops `packets`. Polling once more would reconnect.
async fn receive(mut events: EventLoop, packets: UnboundedSender<Packet>) {
    while let Ok(event) = events.poll().await {
        if let Event::Incoming(packet) = event
            && packets.send(packet).is_err()
        {
            return;
        }
    }
}
