//! A sync whose mapping is written in Python, while another application that was not written here works in the
//! same org. What the host is held to stands outside it: the database, the org, and the org's own journal.

#[path = "python/judge.rs"]
mod judge;

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rusqlite::Connection;
use serde_json::Value;
use tidegate::status::SyncState;
use tidegate_simulator::salesforce::{Handle, Options, Simulator};
use tidegate_tests::{built, crm, host::Host};
use tokio::io::{AsyncBufReadExt, BufReader};

use judge::{Given, OUTSIDE};

const PEOPLE: u32 = 200;
const EDITS: u32 = 120;
const PATIENCE: Duration = Duration::from_secs(240);

/// No id is given twice: by it the judge knows to whom an e-mail address was given.
const SCHEMA: &str = "
CREATE TABLE people (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    salesforce_id TEXT UNIQUE,
    first_name TEXT,
    last_name TEXT NOT NULL,
    email TEXT,
    phone TEXT,
    birthdate DATE,
    notes TEXT,
    score DECIMAL(12,2),
    active BOOLEAN NOT NULL DEFAULT 0,
    postcode TEXT,
    status TEXT
)";

const NORMALISED: &str = r#"
conflict = "newest"
initial = "both"
left = { key = "salesforce_id" }
[mapping]
plugin = "normalise-py"
[mapping.config]
fields = [
    { left = "first_name", right = "FirstName", kind = "name" },
    { left = "last_name", right = "LastName", kind = "name" },
    { left = "email", right = "Email", kind = "email" },
    { left = "phone", right = "Phone", kind = "phone" },
    { left = "birthdate", right = "Birthdate" },
    { left = "notes", right = "Description" },
    { left = "score", right = "Score__c" },
    { left = "active", right = "Active__c" },
    { left = "postcode", right = "MailingPostalCode" },
    { left = "status", right = "Status__c" },
]
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mapping_in_python_and_another_application_keep_in_step() {
    let seed = 11;
    if let Err(error) = play(seed).await {
        panic!("seed {seed}: {error:#}");
    }
}

async fn play(seed: u64) -> Result<()> {
    let options = Options {
        seed,
        late_visible_ms_max: 40,
        ..Options::default()
    };
    let credentials = options.credentials.clone();
    let org = Simulator::start(options).await?;
    let plugin = built::plugins(&["normalise-py"]).join("normalise-py.wasm");
    let file = plugin.canonicalize()?.display().to_string();
    let plugin = format!("[plugins.normalise-py]\nfile = {file:?}\n");
    let people = crm::sync("people", "Contact", &[], NORMALISED)?;
    let config = crm::config(&org, "people.db", crm::USUAL, &(plugin + &people))?;
    let mut host = Host::new(&config)?;
    host.give_credentials(&credentials)?;
    let mut people = People::create(&host.path("people.db"), seed)?;
    host.start()?;

    // One e-mail address is none, and no vendor is asked about it: the mapping's author said so in Python.
    let patience = PATIENCE * 2;
    host.until(patience, |status| {
        let sync = &status.syncs[0];
        let contacts = judge::live(&org).len();
        let at_rest = sync.state == SyncState::Running && sync.waiting + sync.in_flight == 0;
        let ready = at_rest && sync.dead == 1 && contacts as u32 == PEOPLE - 1;
        let story = format!(
            "first sync: {contacts} contacts, {:?}, {sync:?}",
            sync.state
        );
        Ok(if ready { Vec::new() } else { vec![story] })
    })
    .await?;
    let letters = host.dead_letters().await?;
    let letter = letters.first().context("a dead letter")?;
    ensure!(
        letter.reason.code == "not-an-email" && letter.fields == ["email"],
        "{letter:?}"
    );
    judge::normalised(&people.connection, &org)?;

    people.work_beside(&org, seed).await?;
    host.until(PATIENCE, |status| {
        let sync = &status.syncs[0];
        let mut amiss = judge::differences(&people.connection, &org)?;
        if sync.waiting + sync.in_flight + sync.dead > 0 || sync.state != SyncState::Running {
            amiss.push(format!("{sync:?}"));
        }
        Ok(amiss)
    })
    .await?;
    host.stop().await?;
    let amiss = [
        judge::differences(&people.connection, &org)?,
        judge::lost(&people.connection, &org, &people.given)?,
        judge::doubled(&org),
    ]
    .concat();
    ensure!(amiss.is_empty(), "{}", amiss.join("\n"));
    Ok(())
}

/// Whoever works at the database.
struct People {
    connection: Connection,
    rng: ChaCha8Rng,
    given: Vec<Given>,
    made: u32,
}

impl People {
    fn create(database: &Path, seed: u64) -> Result<Self> {
        let connection = Connection::open(database)?;
        connection.busy_timeout(Duration::from_secs(20))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.execute_batch(SCHEMA)?;
        let mut people = Self {
            connection,
            rng: ChaCha8Rng::seed_from_u64(seed),
            given: Vec::new(),
            made: 0,
        };
        people.connection.execute_batch("BEGIN")?;
        for _ in 0..PEOPLE {
            people.insert()?;
        }
        people
            .connection
            .execute("UPDATE people SET email = 'nobody' WHERE id = 1", [])?;
        people.connection.execute_batch("COMMIT")?;
        Ok(people)
    }

    /// A person as somebody in a hurry types it.
    fn insert(&mut self) -> Result<()> {
        const FIRST: [&str; 6] = ["  ada", "JOSÉ", "Zoë", "anne-marie", "Σοφία", "李"];
        const LAST: [&str; 5] = [
            "LOVELACE",
            "o'neill",
            "van der Berg",
            "ŁUKASIEWICZ",
            "Müller ",
        ];
        const PHONES: [&str; 4] = ["+44 (20) 7946-", "0049 30 ", "030-", "(555) "];
        const STATUSES: [&str; 4] = ["new", "active", "paused", "closed"];
        self.made += 1;
        let number = self.made;
        let rng = &mut self.rng;
        let phone = PHONES[rng.random_range(0..PHONES.len())];
        let row = (
            FIRST.choose(rng),
            format!("{} {number}", LAST[rng.random_range(0..LAST.len())]),
            format!(" Person.{number}@Example.ORG"),
            rng.random_bool(0.8)
                .then(|| format!("{phone}{:04}", number)),
            format!("19{:02}-02-28", rng.random_range(0..100)),
            rng.random_bool(0.5)
                .then_some("“quoted”, and\na second line 👋"),
            rng.random_bool(0.8)
                .then(|| format!("{}.{:02}", rng.random_range(-99..9_999), number % 100)),
            rng.random_bool(0.5),
            format!("{:05}", rng.random_range(0..30_000)),
            STATUSES.choose(rng),
        );
        self.connection.prepare_cached(
            "INSERT INTO people (first_name, last_name, email, phone, birthdate, notes, score, active, postcode, status)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute(row)?;
        Ok(())
    }

    /// Changes the database at each change that the other application reports, until that is done.
    async fn work_beside(&mut self, org: &Handle, seed: u64) -> Result<()> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/outside_client.py");
        let mut child = tokio::process::Command::new(built::python())
            .arg("-B")
            .arg(script)
            .args([org.base_url(), &seed.to_string(), &EDITS.to_string()])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut told = BufReader::new(child.stdout.take().context("its output")?).lines();
        let mut edits = 0;
        while let Some(line) = told.next_line().await? {
            let done: Value = serde_json::from_str(&line)?;
            // Somebody at the database may just have deleted the person.
            ensure!(
                done["op"] != "refused" || done["code"] == "ENTITY_IS_DELETED",
                "{OUTSIDE} was refused: {done}"
            );
            edits += 1;
            self.act(edits)?;
        }
        ensure!(child.wait().await?.success(), "{OUTSIDE} failed");
        ensure!(edits == EDITS, "{OUTSIDE} made {edits} changes");
        Ok(())
    }

    fn act(&mut self, turn: u32) -> Result<()> {
        if turn == 1 {
            return self.give_email(1);
        }
        let mut statement = self
            .connection
            .prepare("SELECT id FROM people ORDER BY id")?;
        let ids = statement
            .query_map([], |row| row.get(0))?
            .collect::<Result<Vec<i64>, _>>()?;
        drop(statement);
        let id = *ids.choose(&mut self.rng).context("nobody is left")?;
        match turn % 10 {
            0 | 5 => self.insert(),
            7 => {
                self.connection
                    .execute("DELETE FROM people WHERE id = ?1", [id])?;
                Ok(())
            }
            _ => self.give_email(id),
        }
    }

    fn give_email(&mut self, id: i64) -> Result<()> {
        let email = format!("Given.{}@example.org ", self.rng.random_range(0..1_000_000));
        let sql = "UPDATE people SET email = ?1 WHERE id = ?2";
        self.connection.execute(sql, (&email, id))?;
        self.given.push(Given { id, email });
        Ok(())
    }
}
