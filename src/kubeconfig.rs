//! The cluster's kubeconfig: read from a server, renamed structurally, merged into the user's without kubectl.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::failure::{Code, Failure, Result};

/// The parts of a kubeconfig that hold named entries.
const LISTS: [(&str, &str); 3] = [
    ("clusters", "cluster"),
    ("users", "user"),
    ("contexts", "context"),
];

/// Reads kubeconfig text.
pub fn parse(text: &str, whose: &str) -> Result<Value> {
    let document: Value = if text.trim().is_empty() {
        json!({})
    } else {
        serde_saphyr::from_str_with_options(text, crate::yaml::options()).map_err(|error| {
            Failure::new(Code::LocalFile, format!("{whose} is not a kubeconfig"))
                .because(error)
                .hint("mend or move the file, then run again")
        })?
    };
    if document.is_object() {
        Ok(document)
    } else {
        Err(
            Failure::new(Code::LocalFile, format!("{whose} is not a kubeconfig"))
                .because("it is not a mapping"),
        )
    }
}

/// Turns k3s's own kubeconfig (everything called `default`, server on loopback) into ours: one cluster, user and
/// context called `name`, server at `server`.
pub fn rename(mut config: Value, name: &str, server: &str) -> Result<Value> {
    let broken = || {
        Failure::new(
            Code::Kubernetes,
            "the server's kubeconfig lacks its cluster, user or context",
        )
    };
    for (list, inner) in LISTS {
        let entry = config
            .get_mut(list)
            .and_then(Value::as_array_mut)
            .and_then(|entries| entries.first_mut())
            // Whoever wrote it: what is no mapping cannot be written into.
            .filter(|entry| entry.get(inner).is_some_and(Value::is_object))
            .ok_or_else(broken)?;
        entry["name"] = json!(name);
        match list {
            "clusters" => entry[inner]["server"] = json!(server),
            "contexts" => {
                entry[inner]["cluster"] = json!(name);
                entry[inner]["user"] = json!(name);
            }
            _ => {}
        }
    }
    config["current-context"] = json!(name);
    Ok(config)
}

/// The cluster's own kubeconfig with another address of its API; a failure where it names no cluster, as a file does that was
/// cut or edited.
pub fn at(mut config: Value, server: &str, whose: &str) -> Result<Value> {
    let cluster = config
        .pointer_mut("/clusters/0/cluster")
        .filter(|cluster| cluster.is_object());
    let Some(cluster) = cluster else {
        return Err(Failure::new(
            Code::LocalFile,
            format!("{whose} is not the cluster's kubeconfig"),
        )
        .because("it names no cluster")
        .hint("slicer-k3s init writes it again"));
    };
    cluster["server"] = json!(server);
    Ok(config)
}

/// Puts the entries of `ours` into `theirs`: an entry of the same name is replaced (a rebuilt cluster has a new CA),
/// everything else is kept; the current context changes only where there was none.
pub fn merge(mut theirs: Value, ours: &Value) -> Value {
    for (key, value) in [("apiVersion", json!("v1")), ("kind", json!("Config"))] {
        if theirs.get(key).is_none() {
            theirs[key] = value;
        }
    }
    for (list, _) in LISTS {
        if !theirs.get(list).is_some_and(Value::is_array) {
            theirs[list] = json!([]);
        }
        let additions = ours
            .get(list)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        if let Some(entries) = theirs[list].as_array_mut() {
            for addition in additions {
                match entries
                    .iter_mut()
                    .find(|entry| entry["name"] == addition["name"])
                {
                    Some(entry) => *entry = addition,
                    None => entries.push(addition),
                }
            }
        }
    }
    let current = theirs
        .get("current-context")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if current.is_empty() {
        theirs["current-context"] = ours["current-context"].clone();
    }
    theirs
}

/// Takes the entries out of `theirs` that belong to the cluster of `ours`, told by its CA: under whatever name they were
/// merged.
pub fn forget(mut theirs: Value, ours: &Value) -> Value {
    let ca = |entry: &Value| entry["cluster"]["certificate-authority-data"].clone();
    let wanted = ca(&ours["clusters"][0]);
    let names = |list: &Value, is_ours: &dyn Fn(&Value) -> bool| -> Vec<Value> {
        let entries = list.as_array().map_or(&[][..], Vec::as_slice);
        let ours = entries.iter().filter(|entry| is_ours(entry));
        ours.map(|entry| entry["name"].clone()).collect()
    };
    if wanted.is_null() {
        return theirs;
    }
    let clusters = names(&theirs["clusters"], &|entry| ca(entry) == wanted);
    let contexts = names(&theirs["contexts"], &|entry| {
        clusters.contains(&entry["context"]["cluster"])
    });
    // A user that another context needs stays.
    let user_of = |entry: &Value| entry["context"]["user"].clone();
    let (mut gone, mut kept) = (Vec::new(), Vec::new());
    for entry in theirs["contexts"].as_array().into_iter().flatten() {
        if contexts.contains(&entry["name"]) {
            gone.push(user_of(entry));
        } else {
            kept.push(user_of(entry));
        }
    }
    gone.retain(|user| !kept.contains(user));
    for (list, names) in [
        ("clusters", &clusters),
        ("contexts", &contexts),
        ("users", &gone),
    ] {
        if let Some(entries) = theirs[list].as_array_mut() {
            entries.retain(|entry| !names.contains(&entry["name"]));
        }
    }
    if contexts.contains(&theirs["current-context"]) {
        theirs["current-context"] = json!("");
    }
    theirs
}

/// Merges `ours` into the file at `path`. Returns whether it changed.
pub fn merge_into(path: &Path, ours: &Value) -> Result<bool> {
    let changed = change(path, |theirs| merge(theirs, ours))?;
    Ok(changed.is_some())
}

/// Takes `ours` out of the file at `path`, where there is one. Returns where the file of before is kept; `None` where nothing
/// changed.
pub fn forget_in(path: &Path, ours: &Value) -> Result<Option<PathBuf>> {
    if !path.is_file() {
        return Ok(None);
    }
    let changed = change(path, |theirs| forget(theirs, ours))?;
    Ok(changed.and_then(|changed| changed.before))
}

/// What a change of a file leaves.
struct Changed {
    /// The copy of the file of before, where there was one.
    before: Option<PathBuf>,
}

/// Changes a file: 0600, atomic, where a link leads (dotfiles are often kept elsewhere). The old one is kept beside it as
/// `….bak`, and of later changes as `….bak.2` and so on: comments are in these only. Nothing is written where nothing changes.
fn change(path: &Path, change: impl FnOnce(Value) -> Value) -> Result<Option<Changed>> {
    let failed = |error: std::io::Error| {
        Failure::new(Code::LocalFile, format!("cannot change {}", path.display())).because(error)
    };
    let old = match fs_err::read_to_string(path) {
        Ok(text) => Some(text),
        // A link that leads nowhere would be replaced by a file: what it leads to may be mounted later.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !path.is_symlink() => None,
        Err(error) => return Err(failed(error)),
    };
    let before = parse(
        old.as_deref().unwrap_or_default(),
        &path.display().to_string(),
    )?;
    let after = change(before.clone());
    if old.is_some() && after == before {
        return Ok(None);
    }
    let text = crate::yaml::write(&after)?;
    if let Some(old) = &old {
        let before = crate::files::keep_copy(path, "bak", old.as_bytes())?;
        crate::files::replace_private(path, text.as_bytes())?;
        return Ok(Some(Changed {
            before: Some(before),
        }));
    }
    crate::files::write_private(path, text.as_bytes())?;
    Ok(Some(Changed { before: None }))
}

/// The user's own file: the first of `$KUBECONFIG`, else `~/.kube/config`.
pub fn users_file() -> Result<PathBuf> {
    let list = std::env::var_os("KUBECONFIG").unwrap_or_default();
    if let Some(first) = std::env::split_paths(&list).find(|path| !path.as_os_str().is_empty()) {
        return Ok(first);
    }
    let home = std::env::var_os("HOME")
        .filter(|home| !home.is_empty())
        .ok_or_else(|| {
            Failure::new(Code::LocalFile, "HOME is not set").hint("set HOME or KUBECONFIG")
        })?;
    Ok(PathBuf::from(home).join(".kube/config"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_that_are_no_mappings_are_refused_in_words() {
        for entry in ["x", "{name: default}", "{cluster: 7}"] {
            let config = parse(&format!("clusters: [{entry}]"), "it").unwrap();
            assert!(rename(config, "home", "https://x").is_err(), "{entry}");
        }
    }

    /// `kubectl` panicked on an empty file.
    #[test]
    fn a_kubeconfig_without_a_cluster_is_refused_in_words() {
        for text in [
            "",
            "{}",
            "clusters: x",
            "clusters: []",
            "clusters: [{cluster: x}]",
        ] {
            let failure = at(parse(text, "it").unwrap(), "https://x", "it").unwrap_err();
            assert!(failure.hint.unwrap().contains("init"), "{text}");
        }
        let config = at(ours(), "https://x:1", "it").unwrap();
        assert_eq!(config["clusters"][0]["cluster"]["server"], "https://x:1");
    }

    #[test]
    fn fuzz_kubeconfig() {
        const SAMPLES: &[&str] = &[
            "apiVersion: v1\nkind: Config\nclusters:\n- name: default\n  cluster:\n    server: https://127.0.0.1:6443\nusers:\n- name: default\n  user:\n    client-key-data: QUJD\ncontexts:\n- name: default\n  context: {cluster: default, user: default}\ncurrent-context: default\n",
            "{\"apiVersion\": \"v1\", \"clusters\": [], \"users\": [{\"name\": \"x\"}], \"contexts\": null}",
            "a: &a [1, 2]\nb: *a\nc: {<<: *a}\n? x\n: |\n  y\n",
        ];
        crate::fuzz::fuzz("kubeconfig", SAMPLES, |text| {
            let told = |failure: crate::failure::Failure| {
                vec![crate::escape::escape(&failure.to_string())]
            };
            let config = match parse(text, "kubeconfig") {
                Ok(config) => config,
                Err(failure) => return told(failure),
            };
            match rename(config.clone(), "home", "https://192.168.137.2:6443") {
                Ok(ours) => {
                    let merged = merge(config, &ours);
                    forget(merged, &ours);
                    Vec::new()
                }
                Err(failure) => told(failure),
            }
        });
    }

    fn ours() -> Value {
        let k3s = "apiVersion: v1\nkind: Config\nclusters:\n- name: default\n  cluster:\n    server: https://127.0.0.1:6443\n    certificate-authority-data: ZGVmYXVsdA==\nusers:\n- name: default\n  user:\n    client-key-data: QUJD\ncontexts:\n- name: default\n  context:\n    cluster: default\n    user: default\n    namespace: default\ncurrent-context: default\n";
        rename(
            parse(k3s, "k3s").unwrap(),
            "home",
            "https://192.168.137.2:6443",
        )
        .unwrap()
    }

    #[test]
    fn only_names_and_server_change_never_base64_or_namespaces() {
        let config = ours();
        assert_eq!(
            config["clusters"][0]["cluster"]["certificate-authority-data"],
            "ZGVmYXVsdA=="
        );
        assert_eq!(
            config["clusters"][0]["cluster"]["server"],
            "https://192.168.137.2:6443"
        );
        assert_eq!(config["contexts"][0]["context"]["namespace"], "default");
        assert_eq!(config["contexts"][0]["context"]["user"], "home");
    }

    #[test]
    fn an_entry_of_the_same_name_is_replaced_and_others_are_kept() {
        let theirs = parse("clusters: [{name: home, cluster: {server: old}}, {name: work, cluster: {server: w}}]\ncurrent-context: work\nextensions: yes-please\n", "x").unwrap();
        let merged = merge(theirs, &ours());
        assert_eq!(merged["clusters"].as_array().unwrap().len(), 2);
        assert_eq!(
            merged["clusters"][0]["cluster"]["server"],
            "https://192.168.137.2:6443"
        );
        assert_eq!(merged["current-context"], "work");
        assert_eq!(merged["extensions"], "yes-please");
    }

    #[test]
    fn a_file_is_private_backed_up_and_left_alone_the_second_time() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/config");
        assert!(merge_into(&path, &ours()).unwrap());
        assert_eq!(
            fs_err::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert!(!merge_into(&path, &ours()).unwrap());
        assert!(!dir.path().join("sub/config.bak").exists());
        fs_err::write(&path, "clusters: []\n").unwrap();
        assert!(merge_into(&path, &ours()).unwrap());
        assert_eq!(
            fs_err::read_to_string(dir.path().join("sub/config.bak")).unwrap(),
            "clusters: []\n"
        );
    }

    /// A link of a dotfile manager became a file, and a second change took the only copy of what there was before.
    #[test]
    fn a_link_stays_one_and_no_copy_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let (path, file) = (dir.path().join("config"), dir.path().join("dotfile"));
        fs_err::write(&file, "# mine\nclusters: []\n").unwrap();
        fs_err::os::unix::fs::symlink(&file, &path).unwrap();
        let other = rename(ours(), "other", "https://192.168.137.9:6443").unwrap();
        assert!(merge_into(&path, &ours()).unwrap());
        assert!(merge_into(&path, &other).unwrap());
        assert!(fs_err::symlink_metadata(&path).unwrap().is_symlink());
        assert!(
            fs_err::read_to_string(&file)
                .unwrap()
                .contains("name: other")
        );
        let first = fs_err::read_to_string(dir.path().join("config.bak")).unwrap();
        assert!(first.starts_with("# mine"), "{first}");
        assert!(dir.path().join("config.bak.2").exists());
    }

    /// Merged under another name, it is still the same cluster; and what is somebody else's stays.
    #[test]
    fn a_destroyed_cluster_is_forgotten_under_whatever_name_it_was_merged() {
        let named = |name: &str, ca: &str| {
            json!({
                "clusters": [{"name": name, "cluster": {"certificate-authority-data": ca, "server": "https://x"}}],
                "users": [{"name": name, "user": {}}],
                "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
                "current-context": name,
            })
        };
        let ours = named("home", "Q0E=");
        let both = merge(
            merge(json!({}), &named("lab", "Q0E=")),
            &named("work", "T3RoZXI="),
        );
        let left = forget(both, &ours);
        for list in ["clusters", "users", "contexts"] {
            let kept: Vec<_> = left[list]
                .as_array()
                .unwrap()
                .iter()
                .map(|e| &e["name"])
                .collect();
            assert_eq!(kept, ["work"], "{list}");
        }
        assert_eq!(left["current-context"], "");
        assert_eq!(forget(left.clone(), &named("home", "T3RoZXIy")), left);
    }

    #[test]
    fn a_broken_file_is_refused_and_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        fs_err::write(&path, "a: [").unwrap();
        assert_eq!(
            merge_into(&path, &ours()).unwrap_err().code,
            Code::LocalFile
        );
        assert_eq!(fs_err::read_to_string(&path).unwrap(), "a: [");
    }
}
