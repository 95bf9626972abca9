//! Uploaded files on a disk that crashes at every step: upload, registration, removal, commit.

use std::sync::Arc;

use aws_lc_rs::cipher::{AES_256, DecryptingKey, DecryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use bytes::Bytes;

use super::world::{World, open};
use crate::disk::crash::Crash;
use crate::snowflake::log::Encoding;
use crate::snowflake::registry::{Channel, Found};
use crate::snowflake::stage::{self, Location, Put};
use crate::snowflake::store::{Appended, Incoming, Store};
use crate::snowflake::streaming::files::register::{Wanted, into_log};

const KEY: [u8; 32] = [3; 32];
const IV: [u8; 16] = [4; 16];
const FILES: i64 = 3;

/// A client of channel A: each batch is a file of two rows.
struct Client {
    world: World,
    done: i64,
}

fn file_of(number: i64) -> Vec<u8> {
    let rows = format!("{{\"channel\":\"A\",\"n\":\"{number}\"}}\n").repeat(2);
    let mut bytes = zstd::encode_all(rows.as_bytes(), 1).unwrap();
    let key = DecryptingKey::ctr(UnboundCipherKey::new(&AES_256, &KEY).unwrap()).unwrap();
    let context = DecryptionContext::Iv128(FixedLength::from(IV));
    key.decrypt(&mut bytes, context).unwrap();
    bytes
}

fn channel(store: &Store) -> Arc<Channel> {
    let pipe = super::world::pipe(store);
    let Found::Healthy(channel) = store.registry.find(&Store::key(&pipe, "A")).unwrap() else {
        panic!("the channel is not healthy")
    };
    channel
}

impl Client {
    /// Uploads and registers a file; the same again if the answer did not come.
    async fn send(&mut self, store: &Arc<Store>, number: i64) -> Result<(), String> {
        let bytes = file_of(number);
        let location = Location::new("1", "lease", &format!("{number}.ndjson")).unwrap();
        let put = store
            .stage
            .put(&location, &bytes)
            .map_err(|error| error.to_string())?;
        let Put::Kept(etag) = put else {
            return Err(format!("{put:?}"));
        };
        let token = self.world.clients["A"].token.clone();
        let request_id = format!("r{number}");
        let channel = channel(store);
        let known = store.known(&channel, Some(&token), &request_id).await;
        let outcome = match known {
            Some(known) => {
                store.stage.remove(&location, &etag, true);
                known
            }
            None => {
                let wanted = vec![Wanted {
                    location,
                    etag,
                    iv: IV,
                    length: bytes.len() as u64,
                }];
                let batch = Incoming {
                    continuation_token: Some(token),
                    request_id,
                    offset_token: Some(number.to_string()),
                    start_token: None,
                    encoding: Encoding::Zstd,
                    rows: Bytes::new(),
                    raw_length: 0,
                };
                let sent = into_log(store, &channel, KEY.to_vec(), wanted, batch, |_| {}).await;
                sent.map_err(|refusal| format!("{refusal:?}"))?
            }
        };
        let (Appended::Accepted(token) | Appended::Replayed(token)) = outcome else {
            return Err(format!("{outcome:?}"));
        };
        let client = self.world.clients.get_mut("A").unwrap();
        client.token = token;
        client.answered = number;
        self.done = number;
        Ok(())
    }

    async fn play(&mut self, store: &Arc<Store>) -> Result<(), String> {
        for number in self.done + 1..=FILES {
            self.send(store, number).await?;
            if number == 2 {
                self.world.commit(store).map_err(|error| error.to_string())?;
            }
        }
        self.world.commit(store).map_err(|error| error.to_string())
    }
}

async fn stop(store: &Arc<Store>) {
    let log = Arc::clone(&store.log);
    tokio::task::spawn_blocking(move || log.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_at_every_step_of_file_mode_loses_and_doubles_nothing() {
    let (mut crashes, mut left) = (0, 0);
    for at in 0.. {
        let mut any = false;
        for (after, torn) in [(false, 0), (true, 0), (true, 255), (false, 130)] {
            let mut client = Client {
                world: World::new(),
                done: 0,
            };
            let store = open(client.world.folder.path(), &client.world.disk, false).unwrap();
            client.world.open_channel(&store, "A").await.unwrap();
            client.world.disk.crash_at(Crash { at, after, torn });
            let played = client.play(&store).await;
            let crashed = client.world.disk.dead();
            stop(&store).await;
            drop(store);
            any |= crashed;
            crashes += usize::from(crashed);
            assert!(played.is_ok() || crashed, "{played:?}");

            let disk = client.world.disk.restart();
            client.world.disk = disk.clone();
            let store = open(client.world.folder.path(), &disk, false).unwrap();
            let place = format!("step {at}, after {after}, torn {torn}");
            if crashed {
                client
                    .play(&store)
                    .await
                    .unwrap_or_else(|error| panic!("{place}: {error}"));
            }
            client
                .world
                .check(&store, &disk)
                .unwrap_or_else(|error| panic!("{place}: {error}"));
            left += disk.files(stage::FOLDER);
            store.stage.sweep(std::time::Instant::now() + stage::KEEP);
            assert_eq!(disk.files(stage::FOLDER), 0, "{place}");
            stop(&store).await;
        }
        if !any {
            break;
        }
    }
    assert!(crashes > 60, "only {crashes} crashes");
    assert!(left > 0, "no crash left a file for the sweep");
}
