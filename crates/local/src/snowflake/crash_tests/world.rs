//! The store, its disk and the clients that use it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _};
use bytes::Bytes;

use crate::disk::crash::{Crash, CrashDisk};
use crate::faults::{Faults, FaultsFile};
use crate::snowflake::behaviours::Behaviours;
use crate::snowflake::catalog::{Catalog, PipeLookup};
use crate::snowflake::iceberg::{self, Place};
use crate::snowflake::log::Encoding;
use crate::snowflake::model::{ColumnDef, CreateMode, DataType, NewTable, PipeRow, SegmentKind, TableKind};
use crate::snowflake::registry::Found;
use crate::snowflake::segments;
use crate::snowflake::store::{Appended, Incoming, Opened, Store};

const ROWS_PER_BATCH: i64 = 2;

fn column(name: &str) -> ColumnDef {
    let data_type = DataType::Varchar { length: 100 };
    ColumnDef::new(name, data_type)
}

pub(crate) fn catalog(folder: &Path) -> Catalog {
    let catalog = Catalog::open(&folder.join("catalog.db")).unwrap();
    // SQLite's own files are real; losing power is not simulated for them.
    catalog.no_sync();
    catalog
}

pub(super) fn open(folder: &Path, disk: &CrashDisk, lose: bool) -> crate::Result<Arc<Store>> {
    let rules = match lose {
        true => "rules: [{service: snowflake, operation: restart, fault: lose_accepted}]",
        false => "rules: []",
    };
    let faults = Faults::new(&FaultsFile::parse(rules).unwrap());
    let store = Store::open(
        Arc::new(disk.clone()),
        catalog(folder),
        Arc::new(faults),
        Behaviours::default(),
    )?;
    Ok(Arc::new(store))
}

pub(crate) fn make_table(folder: &Path, name: &str) -> i64 {
    let catalog = catalog(folder);
    catalog.create_database("D", CreateMode::IfNotExists).unwrap();
    let table = NewTable {
        database: "D".into(),
        schema: "PUBLIC".into(),
        name: name.into(),
        columns: vec![column("CHANNEL"), column("N")],
        schema_evolution: false,
        error_logging: false,
        row_timestamp: false,
        ..NewTable::default()
    };
    catalog.create_table(&table, CreateMode::New).unwrap();
    catalog.table("D", "PUBLIC", name).unwrap().unwrap().id
}

pub(super) fn pipe(store: &Store) -> PipeRow {
    let PipeLookup::Found(pipe) = store.catalog.pipe("D", "PUBLIC", "T-STREAMING").unwrap() else {
        panic!()
    };
    pipe
}

/// What the client knows of one channel.
#[derive(Clone, Debug, Default)]
pub(super) struct Client {
    pub(super) token: String,
    /// Batches answered 200 since the last open.
    pub(super) answered: i64,
    /// An append whose answer did not come.
    pub(super) unanswered: Option<i64>,
}

pub(super) struct World {
    pub(super) folder: tempfile::TempDir,
    pub(super) disk: CrashDisk,
    pub(super) table: i64,
    pub(super) clients: BTreeMap<&'static str, Client>,
}

impl World {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let table = make_table(folder.path(), "T");
        Self {
            folder,
            disk: CrashDisk::default(),
            table,
            clients: BTreeMap::new(),
        }
    }

    /// Its table is an Iceberg table.
    pub(super) fn iceberg() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let disk = CrashDisk::default();
        let catalog = catalog(folder.path());
        catalog.create_database("D", CreateMode::IfNotExists).unwrap();
        let place = Place {
            volume: "V".into(),
            base_location: "b/t".into(),
            version: 2,
        };
        let columns = vec![column("CHANNEL"), column("N")];
        let row = iceberg::create(&disk, &catalog, folder.path(), &place, &columns).unwrap();
        let table = NewTable {
            database: "D".into(),
            schema: "PUBLIC".into(),
            name: "T".into(),
            columns,
            kind: TableKind::Iceberg,
            ..NewTable::default()
        };
        catalog
            .create_iceberg_table(&table, &row, CreateMode::New)
            .unwrap();
        let table = catalog.table("D", "PUBLIC", "T").unwrap().unwrap().id;
        Self {
            folder,
            disk,
            table,
            clients: BTreeMap::new(),
        }
    }

    pub(super) async fn open_channel(&mut self, store: &Arc<Store>, name: &'static str) -> crate::Result<()> {
        let opened = store
            .open_channel(pipe(store), name.into(), name.into(), None, false)
            .await?;
        let Opened::Open(row, token) = opened else {
            panic!("open was refused")
        };
        let answered = row.offset_token.map_or(0, |token| token.parse().unwrap());
        self.clients.insert(
            name,
            Client {
                token,
                answered,
                unanswered: None,
            },
        );
        Ok(())
    }

    pub(super) async fn append(&mut self, store: &Arc<Store>, name: &'static str) -> crate::Result<Appended> {
        let client = self.clients.get_mut(name).unwrap();
        let number = client.unanswered.unwrap_or(client.answered + 1);
        client.unanswered = Some(number);
        let token = client.token.clone();
        let outcome = append(store, name, &token, number).await?;
        let client = self.clients.get_mut(name).unwrap();
        if let Appended::Accepted(token) | Appended::Replayed(token) = &outcome {
            client.token.clone_from(token);
            client.answered = number;
            client.unanswered = None;
        }
        Ok(outcome)
    }

    /// The script; ends early when the disk dies.
    pub(super) async fn play(&mut self) -> crate::Result<()> {
        let store = open(self.folder.path(), &self.disk, false)?;
        let played = self.play_on(&store).await;
        let log = Arc::clone(&store.log);
        tokio::task::spawn_blocking(move || log.stop()).await.unwrap();
        played
    }

    pub(super) async fn play_on(&mut self, store: &Arc<Store>) -> crate::Result<()> {
        for name in ["A", "B"] {
            self.open_channel(store, name).await?;
        }
        for round in 0..4 {
            self.append(store, "A").await?;
            self.append(store, "B").await?;
            if round == 1 || round == 3 {
                self.commit(store)?;
            }
            if round == 2 {
                // Discards what B appended in this round; it is sent again.
                self.open_channel(store, "B").await?;
                self.append(store, "B").await?;
            }
        }
        self.append(store, "A").await?;
        Ok(())
    }

    pub(super) fn commit(&self, store: &Store) -> crate::Result<()> {
        while store.committer.commit_some(self.table)? {}
        store.log.trim()
    }

    /// Restarts on what is on disk and dies again at a step of that.
    pub(super) async fn die_again(&mut self, crash: Crash) -> bool {
        let disk = self.disk.restart();
        disk.crash_at(crash);
        self.disk = disk.clone();
        let Ok(store) = open(self.folder.path(), &disk, false) else {
            return disk.dead();
        };
        let mut failed = false;
        for name in self.clients.clone().into_keys() {
            failed = failed || self.append(&store, name).await.is_err() || self.commit(&store).is_err();
        }
        let log = Arc::clone(&store.log);
        tokio::task::spawn_blocking(move || log.stop()).await.unwrap();
        disk.dead()
    }

    /// Restarts on what is on disk, lets the clients go on, and checks everything.
    pub(super) async fn recover(&mut self) -> Result<(), String> {
        let disk = self.disk.restart();
        let store = open(self.folder.path(), &disk, false).map_err(|error| error.to_string())?;
        for name in self.clients.clone().into_keys() {
            // The unanswered one is repeated, then one more is sent with the token it gave.
            for _ in 0..2 {
                match self
                    .append(&store, name)
                    .await
                    .map_err(|error| error.to_string())?
                {
                    Appended::Accepted(_) | Appended::Replayed(_) => {}
                    other => return Err(format!("channel {name}: append after the restart is {other:?}")),
                }
            }
        }
        self.commit(&store).map_err(|error| error.to_string())?;
        let checked = self.check(&store, &disk);
        self.disk = disk;
        let log = Arc::clone(&store.log);
        tokio::task::spawn_blocking(move || log.stop()).await.unwrap();
        checked
    }

    pub(super) fn check(&self, store: &Store, disk: &CrashDisk) -> Result<(), String> {
        self.check_rows(&rows(store, disk, self.table)?)?;
        for (name, client) in &self.clients {
            let row = store.catalog.channel(pipe(store).id, name).unwrap().unwrap();
            if row.offset_token != Some(client.answered.to_string()) {
                return Err(format!(
                    "channel {name}: token {:?} after {}",
                    row.offset_token, client.answered
                ));
            }
            let rows = client.answered * ROWS_PER_BATCH;
            if row.counters.rows_inserted != rows || row.counters.rows_parsed != rows {
                return Err(format!(
                    "channel {name}: counters {:?} for {rows} rows",
                    row.counters
                ));
            }
        }
        Ok(())
    }

    pub(super) fn check_rows(&self, rows: &BTreeMap<String, Vec<i64>>) -> Result<(), String> {
        for (name, client) in &self.clients {
            let expected: Vec<i64> = (1..=client.answered)
                .flat_map(|n| std::iter::repeat_n(n, ROWS_PER_BATCH as usize))
                .collect();
            let found = rows.get(*name).cloned().unwrap_or_default();
            if found != expected {
                return Err(format!("channel {name}: {found:?} instead of {expected:?}"));
            }
        }
        Ok(())
    }
}

pub(super) async fn append(
    store: &Arc<Store>,
    name: &str,
    token: &str,
    number: i64,
) -> crate::Result<Appended> {
    let line = format!("{{\"channel\":\"{name}\",\"n\":\"{number}\"}}\n");
    append_rows(
        store,
        name,
        token,
        Some(number.to_string()),
        &line.repeat(ROWS_PER_BATCH as usize),
    )
    .await
}

pub(super) async fn append_rows(
    store: &Arc<Store>,
    name: &str,
    token: &str,
    offset_token: Option<String>,
    rows: &str,
) -> crate::Result<Appended> {
    let key = Store::key(&pipe(store), name);
    let Found::Healthy(channel) = store.registry.find(&key)? else {
        panic!("channel {name} is not healthy")
    };
    let rows = zstd::encode_all(rows.as_bytes(), 1).unwrap();
    let batch = Incoming {
        continuation_token: Some(token.to_owned()),
        request_id: format!("{name}-{offset_token:?}"),
        offset_token,
        start_token: None,
        encoding: Encoding::Zstd,
        rows: Bytes::from(rows),
        raw_length: 64,
    };
    store.accept(channel, batch).await
}

/// The numbers in the table by channel, in segment order.
pub(super) fn rows(
    store: &Store,
    disk: &CrashDisk,
    table: i64,
) -> Result<BTreeMap<String, Vec<i64>>, String> {
    let mut rows: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for segment in store.catalog.segments(table, SegmentKind::Rows).unwrap() {
        let (_, batches) = segments::read(disk, &segment).map_err(|error| error.to_string())?;
        for batch in batches {
            let column = |name| {
                arrow::compute::cast(
                    batch.column_by_name(name).unwrap(),
                    &arrow::datatypes::DataType::Utf8,
                )
            };
            let (channels, numbers) = (column("CHANNEL").unwrap(), column("N").unwrap());
            let (channels, numbers) = (channels.as_string::<i32>(), numbers.as_string::<i32>());
            for index in 0..channels.len() {
                let numbers_of = rows.entry(channels.value(index).to_owned()).or_default();
                numbers_of.push(numbers.value(index).parse().unwrap());
            }
        }
    }
    Ok(rows)
}
