//! The portable file: all records in key order, checksummed, the same for every engine.
//!
//! | bytes | what |
//! |---|---|
//! | 15 + 1 | `tidegate-export`, version |
//! | 1 | `1`: a record follows |
//! | 2, 4 | length of the key, length of the value, little endian |
//! | n, m | key, value |
//! | 4 | CRC-32C of all bytes since the start of the file, little endian |
//! | 1 | `0`: the end |
//! | 8 | number of records, little endian |
//! | 4 | CRC-32C of all bytes since the start of the file |
//!
//! Each checksum continues the one before it, so a record that is lost, doubled or moved is found as well.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::batch::{BATCH_BYTES_MAX, Batch, KEY_BYTES_MAX};
use crate::engine::{Engine, EngineError};
use crate::failure::Failure;
use crate::folder;
use crate::handle::Store;
use crate::opening::{self, OpenError, Opened, Options};
use crate::range::KeyRange;
use crate::records::{self, Outcome, ReadError, Records};

const MAGIC: &[u8; 15] = b"tidegate-export";
const VERSION: u8 = 1;
const RECORD: u8 = 1;
const END: u8 = 0;
const PAGE_RECORDS: usize = 256;

/// What went into a file, or came out of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Exported {
    pub records: u64,
    /// Size of the file.
    pub bytes: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("{file} exists already; choose another name")]
    Exists { file: PathBuf },
    #[error("the export could not be written to {file}")]
    Write { file: PathBuf, source: io::Error },
    #[error("the store could not be read")]
    Read(#[from] ReadError),
}

#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("{folder} holds a store already; import into an empty folder")]
    NotEmpty { folder: PathBuf },
    #[error("{file} could not be read")]
    Read { file: PathBuf, source: io::Error },
    #[error("{file} is not an export")]
    NotAnExport { file: PathBuf },
    #[error(
        "{file} has version {found} of the export format, and this version reads up to {VERSION}; use a newer one"
    )]
    NewerFormat { file: PathBuf, found: u8 },
    #[error(
        "{file} is damaged or cut short after {records} records; nothing was imported, use another copy"
    )]
    Damaged { file: PathBuf, records: u64 },
    #[error("the new store could not be made")]
    Open(#[from] OpenError),
    #[error("the new store could not be written")]
    Write(#[source] Failure),
}

impl ExportError {
    /// A stable word for scripts and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Exists { .. } => "export-exists",
            Self::Write { .. } => "export-write",
            Self::Read(error) => error.code(),
        }
    }
}

impl ImportError {
    /// A stable word for scripts and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotEmpty { .. } => "import-not-empty",
            Self::Read { .. } => "import-read",
            Self::NotAnExport { .. } => "import-not-an-export",
            Self::NewerFormat { .. } => "import-newer-format",
            Self::Damaged { .. } => "import-damaged",
            Self::Open(error) => error.code(),
            Self::Write(failure) => failure.code().as_str(),
        }
    }
}

impl Store {
    /// Writes every record to a new file, as they stand at one moment: batches wait meanwhile. The file appears
    /// under its name only when it is whole and durable. Blocks.
    pub fn export(&self, file: &Path) -> Result<Exported, ExportError> {
        if file.exists() {
            return Err(ExportError::Exists {
                file: file.to_owned(),
            });
        }
        let mut draft = file.as_os_str().to_owned();
        draft.push(".draft");
        let draft = PathBuf::from(draft);
        let exported = self.export_to(&draft);
        if exported.is_err() && draft.exists() {
            fs::remove_file(&draft).map_err(|source| written(&draft, source))?;
        }
        let exported = exported?;
        let parent = match file.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        fs::rename(&draft, file)
            .and_then(|()| folder::sync_folder(parent))
            .map_err(|source| written(file, source))?;
        Ok(exported)
    }

    fn export_to(&self, path: &Path) -> Result<Exported, ExportError> {
        let io = |source| written(path, source);
        let file = File::create(path).map_err(io)?;
        let mut out = Summed::new(BufWriter::new(&file));
        let mut failed = None;
        let records = self.records()?.with(|engine| {
            write_records(engine, &mut out).or_else(|error| match error {
                ExportStop::Read(error) => Err(error),
                ExportStop::Write(error) => {
                    failed = Some(error);
                    Ok(0)
                }
            })
        })?;
        if let Some(error) = failed {
            return Err(io(error));
        }
        let bytes = out.bytes;
        out.inner.flush().map_err(io)?;
        drop(out);
        file.sync_all().map_err(io)?;
        Ok(Exported { records, bytes })
    }

    /// Makes a new store in an absent or empty folder from an exported file. The file is checked to its end before
    /// the store counts as made; an import that fails leaves no store behind. Blocks.
    pub fn import(
        folder: &Path,
        options: Options,
        file: &Path,
    ) -> Result<(Self, Exported), ImportError> {
        let (owner, marker) = opening::prepare(folder)?;
        if marker.is_some() {
            return Err(ImportError::NotEmpty {
                folder: folder.to_owned(),
            });
        }
        let mut imported = Exported::default();
        let engine = opening::create(folder, options, |engine| {
            imported = read_records(engine, file)?;
            Ok::<(), ImportError>(())
        })?;
        let store = Self::start(folder, options, Opened { engine, owner }).map_err(|source| {
            ImportError::Open(OpenError::Io {
                folder: folder.to_owned(),
                source,
            })
        })?;
        Ok((store, imported))
    }
}

fn written(file: &Path, source: io::Error) -> ExportError {
    ExportError::Write {
        file: file.to_owned(),
        source,
    }
}

enum ExportStop {
    Read(ReadError),
    Write(io::Error),
}

impl From<io::Error> for ExportStop {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

fn write_records<W: Write>(engine: &dyn Engine, out: &mut Summed<W>) -> Result<u64, ExportStop> {
    out.write(MAGIC)?;
    out.write(&[VERSION])?;
    let mut records = 0;
    let mut range = KeyRange::all();
    loop {
        let page = records::scan(engine, &range, PAGE_RECORDS).map_err(ExportStop::Read)?;
        let Some((last, _)) = page.last() else {
            break;
        };
        range = range.after(last.clone());
        for (key, value) in &page {
            out.write(&[RECORD])?;
            out.write(&(key.len() as u16).to_le_bytes())?;
            out.write(&(value.len() as u32).to_le_bytes())?;
            out.write(key)?;
            out.write(value)?;
            out.write_sum()?;
            records += 1;
        }
    }
    out.write(&[END])?;
    out.write(&u64::to_le_bytes(records))?;
    out.write_sum()?;
    Ok(records)
}

fn read_records(engine: &Arc<dyn Engine>, path: &Path) -> Result<Exported, ImportError> {
    let io = |source| ImportError::Read {
        file: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(io)?;
    let mut input = Summed::new(BufReader::new(file));
    read_header(&mut input, path)?;
    let records = Records::new(Arc::clone(engine));
    let mut batch = Batch::new();
    let mut count = 0;
    loop {
        let next = read_record(&mut input, count).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => ImportError::Damaged {
                file: path.to_owned(),
                records: count,
            },
            _ => io(error),
        })?;
        let Some((key, value)) = next else {
            break;
        };
        if batch.bytes() + key.len() + value.len() > BATCH_BYTES_MAX / 4 {
            import_batch(&records, std::mem::take(&mut batch))?;
        }
        batch = batch.put(key, value);
        count += 1;
    }
    import_batch(&records, batch)?;
    Ok(Exported {
        records: count,
        bytes: input.bytes,
    })
}

fn import_batch(records: &Records, batch: Batch) -> Result<(), ImportError> {
    let failed = |error: EngineError| ImportError::Write(Failure::new("imported a batch", error));
    match records.apply(batch).map_err(failed)? {
        Outcome::Seq(_) => Ok(()),
        // Nothing is expected, and what was just written is read back whole.
        Outcome::Unexpected { .. } | Outcome::Damaged(_) | Outcome::Closed => {
            Err(ImportError::Write(Failure::panicked("imported a batch")))
        }
    }
}

fn read_header<R: Read>(input: &mut Summed<R>, path: &Path) -> Result<(), ImportError> {
    let file = || path.to_owned();
    let header = input.read::<16>().map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => ImportError::NotAnExport { file: file() },
        _ => ImportError::Read {
            file: file(),
            source: error,
        },
    })?;
    let [magic @ .., version] = &header;
    if magic != MAGIC {
        return Err(ImportError::NotAnExport { file: file() });
    }
    if *version > VERSION {
        return Err(ImportError::NewerFormat {
            file: file(),
            found: *version,
        });
    }
    Ok(())
}

/// The next record, or `None` at a sound end after `count` of them. `InvalidData` is damage.
fn read_record<R: Read>(
    input: &mut Summed<R>,
    count: u64,
) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
    let damaged = || io::Error::from(io::ErrorKind::InvalidData);
    match input.read::<1>()? {
        [RECORD] => {
            let key_bytes = usize::from(u16::from_le_bytes(input.read()?));
            let value_bytes = u32::from_le_bytes(input.read()?) as usize;
            if key_bytes > KEY_BYTES_MAX || value_bytes > BATCH_BYTES_MAX {
                return Err(damaged());
            }
            let key = input.read_vec(key_bytes)?;
            let value = input.read_vec(value_bytes)?;
            input.check_sum()?;
            Ok(Some((key, value)))
        }
        [END] => {
            let said = u64::from_le_bytes(input.read()?);
            input.check_sum()?;
            let more = input.inner.read(&mut [0])?;
            if said == count && more == 0 {
                Ok(None)
            } else {
                Err(damaged())
            }
        }
        _ => Err(damaged()),
    }
}

/// A stream with a running checksum.
struct Summed<T> {
    inner: T,
    sum: u32,
    bytes: u64,
}

impl<T> Summed<T> {
    fn new(inner: T) -> Self {
        Self {
            inner,
            sum: 0,
            bytes: 0,
        }
    }

    fn count(&mut self, bytes: &[u8]) {
        self.sum = crc32c::crc32c_append(self.sum, bytes);
        self.bytes += bytes.len() as u64;
    }
}

impl<W: Write> Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.count(bytes);
        self.inner.write_all(bytes)
    }

    fn write_sum(&mut self) -> io::Result<()> {
        self.write(&self.sum.to_le_bytes())
    }
}

impl<R: Read> Summed<R> {
    fn read<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.inner.read_exact(&mut bytes)?;
        self.count(&bytes);
        Ok(bytes)
    }

    fn read_vec(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.inner.read_exact(&mut bytes)?;
        self.count(&bytes);
        Ok(bytes)
    }

    fn check_sum(&mut self) -> io::Result<()> {
        let sum = self.sum.to_le_bytes();
        if self.read::<4>()? == sum {
            Ok(())
        } else {
            Err(io::ErrorKind::InvalidData.into())
        }
    }
}
