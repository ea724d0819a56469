//! One object, or a list that is whole. What did not come, came in part or makes no sense is a failure, and never an object or
//! a list that is not there: what is deleted because it is not in a list goes by these.

use std::time::Duration;

use serde_json::Value;

use super::words::{bounded, cause, refusal};
use super::{Kubernetes, path};
use crate::failure::{Code, Failure, Result};
use crate::remote::Probe;

/// The code of what does not exist: an object, or a kind that no one has defined yet.
const NOT_FOUND: u64 = 404;

/// The code of a list that cannot be gone on with: etcd has compacted what it was a picture of.
///
/// Source: kubernetes.io/docs/reference/using-api/api-concepts ("Retrieving large results sets in chunks").
const GONE: u64 = 410;

/// The code of an API server that has too much to do, or that is just taking a changed kind into use (`storage is
/// (re)initializing`): it asks to come again in a second.
///
/// Source: kubernetes/apiextensions-apiserver `pkg/apiserver/customresource_handler.go`.
const BUSY: u64 = 429;
const BUSY_TRIES: u32 = 3;
const BUSY_PAUSE: Duration = Duration::from_secs(1);

/// Objects in one answer. A Node has up to 20 kB, most pods less than 10: well below the bound of an output.
const PAGE: usize = 100;

/// The same where the metadata are enough.
const PAGE_OF_METADATA: usize = 500;

/// Most answers that make one list: 200 000 objects are more than Kubernetes is made for.
const MOST_PAGES: usize = 2000;

/// How often a list is begun when what it was a picture of is gone before its end.
const BEGINNINGS: usize = 3;

/// The pause before that: answers are shared for a moment (`remote::looks`), and the token in a shared one is gone, too.
const BEGINNING_PAUSE: Duration = Duration::from_millis(500);

/// What a server's API answered.
enum Answer {
    Object(Value),
    /// A refusal: its code and why.
    Refused(u64, String),
    /// More than an output holds, or an output whose end did not arrive; how that is described.
    Cut(String),
}

/// How reading a list from its beginning ended.
enum List {
    Whole(Vec<Value>),
    /// The API knows no such kind.
    Unknown,
    Expired,
}

impl Kubernetes {
    /// One object, or `None` where the API says that it does not exist: `words` are kubectl's behind `get`, such as
    /// `["node", "cp-1"]`.
    pub async fn get(&self, words: &[&str]) -> Result<Option<Value>> {
        let object = self.object(words).await;
        self.noted(object)
    }

    /// The items of a list, all of them: `words` are kubectl's behind `get`, such as `["pods", "-A"]`. An answer that is no
    /// list, or that does not come whole, is a failure.
    pub async fn list(&self, words: &[&str]) -> Result<Vec<Value>> {
        self.list_if_known(words)
            .await?
            .ok_or_else(|| self.unlisted(words).because("its API does not know them"))
    }

    /// The same list with the metadata of its items alone.
    pub async fn list_metadata(&self, words: &[&str]) -> Result<Vec<Value>> {
        let listed = self.pages(words, true).await;
        self.noted(listed)?
            .ok_or_else(|| self.unlisted(words).because("its API does not know them"))
    }

    /// The items of a list of what k3s or a person may have defined; `None` where the API does not know the kind.
    pub async fn list_if_known(&self, words: &[&str]) -> Result<Option<Vec<Value>>> {
        let listed = self.pages(words, false).await;
        self.noted(listed)
    }

    async fn object(&self, words: &[&str]) -> Result<Option<Value>> {
        match self.ask(self.path(words)?, false).await? {
            Answer::Object(object) => Ok(Some(object)),
            Answer::Refused(NOT_FOUND, _) => Ok(None),
            Answer::Refused(_, why) | Answer::Cut(why) => Err(self.no(&why)),
        }
    }

    async fn pages(&self, words: &[&str], metadata: bool) -> Result<Option<Vec<Value>>> {
        let path = self.path(words)?;
        for _ in 0..BEGINNINGS {
            match self.begin_list(words, &path, metadata).await? {
                List::Whole(items) => return Ok(Some(items)),
                List::Unknown => return Ok(None),
                List::Expired => tokio::time::sleep(BEGINNING_PAUSE).await,
            }
        }
        Err(self.unlisted(words).because(format!(
            "{BEGINNINGS} times the list was compacted away before its end was read"
        )))
    }

    /// A list page by page, all of one moment. A page that is more than an output holds is asked for in smaller ones.
    async fn begin_list(&self, words: &[&str], path: &str, metadata: bool) -> Result<List> {
        let mut size = if metadata { PAGE_OF_METADATA } else { PAGE };
        let (mut items, mut next) = (Vec::new(), String::new());
        for _ in 0..MOST_PAGES {
            let limit = size.to_string();
            let mut query = vec![("limit", limit.as_str())];
            if !next.is_empty() {
                query.push(("continue", &next));
            }
            match self
                .ask(path::with(path.to_owned(), query), metadata)
                .await?
            {
                Answer::Cut(_) if size > 1 => size = (size / 4).max(1),
                Answer::Refused(NOT_FOUND, _) if next.is_empty() => return Ok(List::Unknown),
                Answer::Refused(GONE, _) if !next.is_empty() => return Ok(List::Expired),
                Answer::Refused(_, why) | Answer::Cut(why) => {
                    return Err(self.unlisted(words).because(why));
                }
                Answer::Object(list) => {
                    let Some((page, more)) = page(list) else {
                        return Err(self.unlisted(words).because("what it answered is no list"));
                    };
                    items.extend(page);
                    if more.is_empty() {
                        return Ok(List::Whole(items));
                    }
                    if more == next {
                        return Err(self.unlisted(words).because("it does not get on"));
                    }
                    next = more;
                }
            }
        }
        Err(self
            .unlisted(words)
            .because(format!("there is no end after {} of them", items.len())))
    }

    /// Asks; an API server that has too much to do is asked again.
    async fn ask(&self, path: String, metadata: bool) -> Result<Answer> {
        let probe = Probe::Kubernetes {
            // For curl, which it takes for a person, the API server would write ten spaces before each word.
            path: path::with(path, [("pretty", "false")]),
            metadata,
        };
        let mut tries = 1;
        loop {
            let answer = self.answer(&probe).await?;
            if tries == BUSY_TRIES || !matches!(answer, Answer::Refused(BUSY, _)) {
                return Ok(answer);
            }
            tries += 1;
            tokio::time::sleep(BUSY_PAUSE).await;
        }
    }

    async fn answer(&self, probe: &Probe) -> Result<Answer> {
        let output = self.server.probe(probe).await?;
        if output.cut {
            return Ok(Answer::Cut(output.cut_words()));
        }
        if !output.ok() {
            return match refusal(&output.stderr) {
                Some((code, why)) => Ok(Answer::Refused(code, why)),
                None => Err(self.refused("get", &output)),
            };
        }
        let Ok(answer) = serde_json::from_str::<Value>(&output.stdout) else {
            let what = format!("the API on {} does not answer yet", self.server.name());
            return Err(Failure::new(Code::Kubernetes, what).because(cause(&output)));
        };
        // The API's refusals are objects of their own.
        if answer["kind"] == "Status" && answer["status"] == "Failure" {
            let why = answer["message"].as_str().filter(|why| !why.is_empty());
            let why = bounded(why.unwrap_or("it gave no reason"));
            return Ok(Answer::Refused(answer["code"].as_u64().unwrap_or(0), why));
        }
        Ok(Answer::Object(answer))
    }

    fn path(&self, words: &[&str]) -> Result<String> {
        let path = path::path(words);
        debug_assert!(path.is_some(), "no path for {words:?}");
        path.ok_or_else(|| {
            self.unlisted(words)
                .because("there is no path for it")
                .permanent()
        })
    }

    fn no(&self, why: &str) -> Failure {
        let what = format!("the API on {} refused", self.server.name());
        Failure::new(Code::Kubernetes, what).because(why)
    }

    fn unlisted(&self, words: &[&str]) -> Failure {
        let kind = words.first().copied().unwrap_or_default();
        let what = format!("the API on {} did not list all {kind}", self.server.name());
        Failure::new(Code::Kubernetes, what)
    }
}

/// The items of one page and the token that goes on with the list, empty at its end; `None` where it is no list.
fn page(mut list: Value) -> Option<(Vec<Value>, String)> {
    let is_list = list["kind"]
        .as_str()
        .is_some_and(|kind| kind.ends_with("List"));
    let more = list["metadata"].as_object().filter(|_| is_list)?;
    let more = more.get("continue").and_then(Value::as_str);
    let more = more.unwrap_or_default().to_owned();
    match list.get_mut("items")?.take() {
        Value::Array(items) => Some((items, more)),
        // How Go writes an empty list of metadata (apiserver pkg/endpoints/handlers/response.go).
        Value::Null => Some((Vec::new(), more)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
