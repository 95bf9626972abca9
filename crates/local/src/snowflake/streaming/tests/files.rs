//! File mode, as the official SDK uses it.

use aws_lc_rs::cipher::{AES_256, DecryptingKey, DecryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::client::{Answer, Client, zstd};
use super::{SLOW_COMMIT, faults_of as faults};
use crate::snowflake::catalog::now_ms;

const IV: [u8; 16] = [9; 16];

/// A client that uploads to one location.
pub(super) struct Uploader {
    pub(super) client: Client,
    location: String,
    token: String,
    key: Vec<u8>,
}

impl Uploader {
    async fn start(rules: &str) -> Self {
        let faults = faults(rules);
        Self::of(Client::start_with(|options| options.faults = faults).await).await
    }

    pub(super) async fn of(client: Client) -> Self {
        let info = client.pipe_info().await.json();
        let stage = &info["rowset_stage_location"];
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Self {
            location: text(&stage["location"]),
            token: text(&stage["creds"]["AWS_TOKEN"]),
            key: STANDARD
                .decode(text(&info["encryption_info"]["pipe_key"]))
                .unwrap(),
            client,
        }
    }

    /// The file of some rows; encrypting and decrypting are the same in CTR.
    pub(super) fn file(&self, rows: &str) -> Vec<u8> {
        let mut bytes = zstd(rows.as_bytes());
        let key = UnboundCipherKey::new(&AES_256, &self.key).unwrap();
        let context = DecryptionContext::Iv128(FixedLength::from(IV));
        DecryptingKey::ctr(key)
            .unwrap()
            .decrypt(&mut bytes, context)
            .unwrap();
        bytes
    }

    async fn put(&self, name: &str, file: &[u8]) -> Answer {
        self.put_framed(name, framed(file)).await
    }

    pub(super) async fn put_framed(&self, name: &str, body: Vec<u8>) -> Answer {
        let path = format!("/{}{name}?x-id=PutObject", self.location);
        let headers = [("x-amz-security-token", self.token.as_str())];
        self.client.put_file(&path, &headers, body).await.unwrap()
    }

    /// Uploads rows; gives the registration of the file.
    async fn upload(&self, name: &str, rows: &str, end: Option<&str>) -> Value {
        let file = self.file(rows);
        let answer = self.put(name, &file).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        self.entry(name, &answer, file.len(), rows, end)
    }

    /// How an uploaded file of so many bytes is registered.
    pub(super) fn entry(
        &self,
        name: &str,
        uploaded: &Answer,
        length: usize,
        rows: &str,
        end: Option<&str>,
    ) -> Value {
        let etag = uploaded.etag.as_deref().unwrap();
        let etag = etag.strip_prefix('"').and_then(|etag| etag.strip_suffix('"'));
        json!({
            "file_path": format!("{}{name}", self.location),
            "content_type": "application/x-ndjson",
            "file_etag": etag.expect("the ETag is quoted"),
            "file_length_bytes": length,
            "fragment_length_bytes": length,
            "fragment_start_byte_offset": 0,
            // The SDK (1.9.1) counts other bytes here than it sends where many rows were appended at once.
            "fragment_length_uncompressed_bytes": rows.len() + 1,
            "fragment_row_count": rows.lines().count(),
            "fragment_start_offset_token": end,
            "fragment_end_offset_token": end,
            "iv_base64": STANDARD.encode(IV),
            "encryption_version": "AES-CTR-128.1",
        })
    }

    pub(super) async fn register(
        &self,
        channel: &str,
        token: Option<&str>,
        request: &str,
        files: &[Value],
    ) -> Answer {
        let body = json!(files).to_string();
        self.client
            .file_buffer(channel, token, request, body)
            .await
            .unwrap()
    }

    fn kept(&self) -> usize {
        self.client.stage_files()
    }
}

/// As `aws-chunked` sends it: two chunks and a trailer.
pub(super) fn framed(file: &[u8]) -> Vec<u8> {
    let mut crc = flate2::Crc::new();
    crc.update(file);
    let (one, two) = file.split_at(file.len() / 3);
    let mut body = Vec::new();
    for chunk in [one, two].into_iter().filter(|chunk| !chunk.is_empty()) {
        body.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        body.extend_from_slice(chunk);
        body.extend_from_slice(b"\r\n");
    }
    let sum = STANDARD.encode(crc.sum().to_be_bytes());
    body.extend_from_slice(format!("0\r\nx-amz-checksum-crc32:{sum}\r\n\r\n").as_bytes());
    body
}

fn rows(numbers: std::ops::Range<i32>) -> String {
    numbers.map(|n| format!("{{\"n\":\"{n}\"}}\n")).collect()
}

#[tokio::test]
async fn uploaded_files_are_committed_like_rows_and_then_removed() {
    let up = Uploader::of(Client::start().await).await;
    let token = up.client.open("C").await.token();
    let one = [up.upload("0.ndjson", &rows(0..3), Some("3")).await];
    let answer = up.register("C", Some(&token), "r1", &one).await;
    let next = answer.token();
    assert_ne!(next, token);
    // Two files of one call are one append; an empty start token is none.
    let mut two = [
        up.upload("1.ndjson", &rows(3..5), Some("5")).await,
        up.upload("2.ndjson", &rows(5..9), Some("9")).await,
    ];
    two[0]["fragment_start_offset_token"] = json!("");
    assert_eq!(up.kept(), 2);
    let last = up.register("C", Some(&next), "r2", &two).await.token();
    up.client
        .append("C", &last, "10", "r3", &rows(9..10))
        .await
        .is_ok();
    let status = up.client.committed("C", "10").await;
    assert_eq!(
        (&status["rows_inserted"], &status["rows_error_count"]),
        (&json!(10), &json!(0))
    );
    assert_eq!((up.client.rows(), up.kept()), (10, 0));
    let sums = up
        .client
        .sql("SELECT SUM(N::INT), COUNT(DISTINCT N) FROM T")
        .await;
    assert_eq!(sums.unwrap(), [[Some("45".to_owned()), Some("10".to_owned())]]);
}

#[tokio::test]
async fn replayed_registration_is_stored_once_and_a_stale_one_not_at_all() {
    let up = Uploader::of(Client::start().await).await;
    let token = up.client.open("C").await.token();
    let file = [up.upload("0.ndjson", &rows(0..3), Some("3")).await];
    let first = up.register("C", Some(&token), "r1", &file).await.token();
    let again = up.register("C", Some(&token), "r1", &file).await.token();
    assert_eq!(first, again);
    let other = [up.upload("1.ndjson", &rows(3..6), Some("6")).await];
    up.register("C", Some(&token), "r2", &other)
        .await
        .is(400, "STALE_CONTINUATION_TOKEN_SEQUENCER");
    assert_eq!(up.kept(), 0, "what a client gave up is removed");
    up.client.committed("C", "3").await;
    up.client.open("C").await.is_ok();
    let fenced = [up.upload("2.ndjson", &rows(3..6), Some("6")).await];
    up.register("C", Some(&first), "r3", &fenced)
        .await
        .is(400, "STALE_CONTINUATION_TOKEN_SEQUENCER");
    up.client.committed("C", "3").await;
    assert_eq!(up.client.rows(), 3);
}

#[tokio::test]
async fn accepted_files_survive_a_restart_and_uploads_can_be_registered_after_one() {
    let up = Uploader::start(SLOW_COMMIT).await;
    let token = up.client.open("C").await.token();
    let one = [up.upload("0.ndjson", &rows(0..3), Some("3")).await];
    let next = up.register("C", Some(&token), "r1", &one).await.token();
    let two = [up.upload("1.ndjson", &rows(3..7), Some("7")).await];
    let up = Uploader {
        client: up.client.restart().await,
        ..up
    };
    assert_eq!(up.kept(), 1);
    // The answer to the first may have been lost.
    assert_eq!(up.register("C", Some(&token), "r1", &one).await.token(), next);
    up.register("C", Some(&next), "r2", &two).await.is_ok();
    let up = Uploader {
        client: up.client.restart().await,
        ..up
    };
    up.client.committed("C", "7").await;
    assert_eq!((up.client.rows(), up.kept()), (7, 0));
}

#[tokio::test]
async fn damaged_files_are_refused_as_a_whole_with_a_code() {
    let up = Uploader::of(Client::start().await).await;
    let token = up.client.open("C").await.token();
    let mut cases = 0;
    for (field, value) in [
        ("iv_base64", json!(STANDARD.encode([8; 16]))),
        ("file_length_bytes", json!(5)),
    ] {
        let good = up.upload("good.ndjson", &rows(0..3), Some("3")).await;
        let mut bad = up.upload("bad.ndjson", &rows(3..6), Some("6")).await;
        bad[field] = value;
        if field == "file_length_bytes" {
            bad["fragment_length_bytes"] = json!(5);
        }
        let refused = up.register("C", Some(&token), field, &[good, bad]).await;
        refused.is(400, "ERR_INVALID_FILE");
        cases += 1;
    }
    let plain = zstd(rows(0..3).as_bytes());
    let etag = up.put("plain.ndjson", &plain).await.etag.unwrap();
    let mut not_encrypted = up.upload("x.ndjson", &rows(0..3), Some("3")).await;
    not_encrypted["file_path"] = json!(format!("{}plain.ndjson", up.location));
    not_encrypted["file_etag"] = json!(etag);
    up.register("C", Some(&token), "p", &[not_encrypted.clone()])
        .await
        .is(400, "ERR_INVALID_FILE");
    up.register("C", Some(&token), "p", &[not_encrypted.clone()])
        .await
        .is(400, "ERR_FILE_NOT_FOUND");
    not_encrypted["file_path"] = json!("frazil-local/rowset/99/x/1.ndjson");
    up.register("C", Some(&token), "p", &[not_encrypted.clone()])
        .await
        .is(400, "ERR_FILE_NOT_FOUND");
    not_encrypted["file_path"] = json!(format!("{}plain.ndjson", up.location));
    not_encrypted["iv_base64"] = json!("AAAA");
    up.register("C", Some(&token), "p", &[not_encrypted])
        .await
        .is(400, "ERR_INVALID_REQUEST_BODY");
    up.register("C", Some(&token), "p", &[])
        .await
        .is(400, "ERR_INVALID_REQUEST_BODY");
    // One of each call was sound; it went with the other. The channel is as it was.
    let good = [up.upload("last.ndjson", &rows(0..2), Some("2")).await];
    up.register("C", Some(&token), "ok", &good).await.is_ok();
    up.client.committed("C", "2").await;
    assert_eq!((up.client.rows(), cases), (2, 2));
}

#[tokio::test]
async fn file_that_swells_beyond_the_cap_is_refused() {
    let up = Uploader::of(Client::start().await).await;
    let token = up.client.open("C").await.token();
    let mut bomb = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    let zeros = vec![b' '; 1024 * 1024];
    for _ in 0..257 {
        std::io::Write::write_all(&mut bomb, &zeros).unwrap();
    }
    let mut file = bomb.finish().unwrap();
    let key = UnboundCipherKey::new(&AES_256, &up.key).unwrap();
    let context = DecryptionContext::Iv128(FixedLength::from(IV));
    DecryptingKey::ctr(key)
        .unwrap()
        .decrypt(&mut file, context)
        .unwrap();
    let etag = up.put("bomb.ndjson", &file).await.etag.unwrap();
    let bomb = json!({"file_path": format!("{}bomb.ndjson", up.location), "file_etag": etag,
        "file_length_bytes": file.len(), "iv_base64": STANDARD.encode(IV)});
    up.register("C", Some(&token), "r", &[bomb])
        .await
        .is(413, "ERR_REQUEST_TOO_LARGE");
    assert_eq!(up.kept(), 0);
}

#[tokio::test]
async fn uploads_without_right_or_whole_body_are_refused_and_keep_nothing() {
    let up = Uploader::of(Client::start().await).await;
    let file = up.file(&rows(0..3));
    let path = format!("/{}0.ndjson", up.location);
    let good = ("x-amz-security-token", up.token.as_str());
    let late = format!("{}.{}", now_ms() - 1, "00".repeat(32));
    let cut = framed(&file)[..20].to_vec();
    let wrong_sum = String::from_utf8_lossy(&framed(b"abc")).replace("bc\r", "bd\r");
    let elsewhere = format!("/frazil-local/rowset/77/{}/0.ndjson", "a".repeat(32));
    let up_one = format!("/{}..%2F0.ndjson", up.location);
    for (path, header, body, status, code) in [
        (&path, ("x", "y"), framed(&file), 403, "AccessDenied"),
        (
            &path,
            ("x-amz-security-token", late.as_str()),
            framed(&file),
            403,
            "AccessDenied",
        ),
        (&elsewhere, good, framed(&file), 403, "AccessDenied"),
        (&up_one, good, framed(&file), 404, "NoSuchBucket"),
        (&path, good, cut, 400, "IncompleteBody"),
        (&path, good, wrong_sum.into_bytes(), 400, "BadDigest"),
        (&path, good, vec![b'0'; 66 * 1024 * 1024], 400, "EntityTooLarge"),
    ] {
        // A server that refuses before it has read a large body may end the connection.
        match up.client.put_file(path, &[header], body).await {
            Ok(answer) => {
                assert_eq!(answer.status, status, "{code}: {}", answer.text);
                let wanted = format!("<Code>{code}</Code>");
                assert!(answer.text.contains(&wanted), "{code}: {}", answer.text);
            }
            Err(error) => assert_eq!(code, "EntityTooLarge", "{error}"),
        }
    }
    assert_eq!(up.kept(), 0);
    assert_eq!(up.put("0.ndjson", &file).await.status, 200);
    assert_eq!(up.put("0.ndjson", &file).await.status, 200, "sent again");
    assert_eq!(up.kept(), 1);
}

#[tokio::test]
async fn elastic_channel_takes_files_without_tokens_and_knows_a_repeated_one() {
    let up = Uploader::of(Client::start().await).await;
    let one = [up.upload("0.ndjson", &rows(0..3), None).await];
    let two = [up.upload("1.ndjson", &rows(3..6), None).await];
    up.register("ELASTIC", None, "r1", &one).await.is_ok();
    up.register("ELASTIC", None, "r2", &two).await.is_ok();
    // Another client's request came in between.
    up.register("ELASTIC", None, "r1", &one).await.is_ok();
    let with_token = [up.upload("2.ndjson", &rows(6..9), Some("9")).await];
    up.register("ELASTIC", None, "r3", &with_token)
        .await
        .is(400, "ERR_INVALID_REQUEST");
    up.client
        .until("ELASTIC", |status| status["rows_inserted"] == 6)
        .await;
    assert_eq!(up.client.rows(), 6);
}

#[tokio::test]
async fn fault_lost_answer_of_a_registration_and_refused_uploads_lose_and_double_nothing() {
    let up = Uploader::start(
        "  - {service: snowflake, operation: register_files, fault: lost_answer, times: 1}
  - {service: snowflake, operation: upload_file, fault: unavailable, times: 2}
  - {service: snowflake, operation: register_files, fault: stale_on_replay, after: 1}
",
    )
    .await;
    let token = up.client.open("C").await.token();
    let file = up.file(&rows(0..3));
    for _ in 0..2 {
        assert_eq!(up.put("0.ndjson", &file).await.status, 503);
    }
    let files = [up.upload("0.ndjson", &rows(0..3), Some("3")).await];
    let body = json!(files).to_string();
    let lost = up.client.file_buffer("C", Some(&token), "r1", body).await;
    assert!(lost.is_err(), "no answer");
    up.client.committed("C", "3").await;
    up.register("C", Some(&token), "r1", &files).await.is_ok();
    up.register("C", Some(&token), "r1", &files)
        .await
        .is(400, "STALE_CONTINUATION_TOKEN_SEQUENCER");
    assert_eq!((up.client.rows(), up.kept()), (3, 0));
}
