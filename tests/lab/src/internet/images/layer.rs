//! A layer: a gzipped tar that is the same for the same content.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use flate2::{Compression, GzBuilder};
use ring::digest::{Context as Hash, SHA256};
use tar::{Builder, EntryType, Header};

use crate::digest;

/// One thing in a layer.
pub(super) struct Item {
    path: String,
    mode: u32,
    owner: u64,
    content: Content,
}

enum Content {
    File(PathBuf),
    Text(String),
    Link(String),
    Directory,
}

impl Item {
    /// A file copied from `source`.
    pub(super) fn file(path: &str, mode: u32, source: PathBuf) -> Self {
        Self::new(path, mode, Content::File(source))
    }

    /// A small text.
    pub(super) fn text(path: &str, text: &str) -> Self {
        Self::new(path, 0o644, Content::Text(text.to_owned()))
    }

    /// A symbolic link.
    pub(super) fn link(path: &str, target: &str) -> Self {
        Self::new(path, 0o777, Content::Link(target.to_owned()))
    }

    /// A directory that needs a mode or an owner of its own.
    pub(super) fn directory(path: &str, mode: u32, owner: u64) -> Self {
        Self {
            owner,
            ..Self::new(path, mode, Content::Directory)
        }
    }

    fn new(path: &str, mode: u32, content: Content) -> Self {
        Self {
            path: path.to_owned(),
            mode,
            owner: 0,
            content,
        }
    }
}

/// Writes the layer to `out`; returns the digest of the tar inside, which the config lists.
pub(super) fn write(items: &[Item], out: &Path) -> Result<String> {
    let file = io::BufWriter::new(File::create(out)?);
    // Stored, not squeezed: it travels a metre of virtual cable, and every node unpacks it.
    let gzip = GzBuilder::new().write(file, Compression::none());
    let mut tar = Builder::new(Hashing {
        inner: gzip,
        hash: Hash::new(&SHA256),
    });
    let mut made = BTreeSet::new();
    for item in items {
        for parent in parents(&item.path) {
            if made.insert(parent.to_owned()) {
                append(&mut tar, &Item::directory(parent, 0o755, 0))?;
            }
        }
        if matches!(item.content, Content::Directory) {
            made.insert(item.path.clone());
        }
        append(&mut tar, item)?;
    }
    let Hashing { inner, hash } = tar.into_inner()?;
    inner.finish()?.flush()?;
    Ok(digest::hex(hash.finish().as_ref()))
}

fn append(tar: &mut Builder<impl Write>, item: &Item) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_mode(item.mode);
    header.set_mtime(0);
    header.set_uid(item.owner);
    header.set_gid(item.owner);
    header.set_size(0);
    match &item.content {
        Content::File(source) => {
            let file =
                File::open(source).with_context(|| format!("cannot read {}", source.display()))?;
            header.set_entry_type(EntryType::Regular);
            header.set_size(file.metadata()?.len());
            tar.append_data(&mut header, &item.path, file)?;
        }
        Content::Text(text) => {
            header.set_entry_type(EntryType::Regular);
            header.set_size(text.len() as u64);
            tar.append_data(&mut header, &item.path, text.as_bytes())?;
        }
        Content::Link(target) => {
            header.set_entry_type(EntryType::Symlink);
            tar.append_link(&mut header, &item.path, target)?;
        }
        Content::Directory => {
            header.set_entry_type(EntryType::Directory);
            tar.append_data(&mut header, format!("{}/", item.path), io::empty())?;
        }
    }
    Ok(())
}

/// `a/b/c` → `a`, `a/b`.
fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

struct Hashing<W> {
    inner: W,
    hash: Hash,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hash.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
