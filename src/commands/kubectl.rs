//! `slicer-k3s kubectl …`: the user's kubectl through a tunnel of ours, else the server's own over SSH.

use std::io::IsTerminal as _;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Context, one_host, passed_on};
use crate::cli::{Global, Kubectl};
use crate::config::Config;
use crate::failure::{Code, Failure, Failures, Result};
use crate::kubeconfig;
use crate::names::k3s::API_PORT;
use crate::plan::Plan;
use crate::remote::{self, Script, tunnel};
use crate::stop::{self, Request, Requests};

/// Runs it; kubectl's exit code is ours.
pub(super) async fn run(global: &Global, options: Kubectl) -> Result<u8, Failures> {
    let Some(settings) = passed_on::settings(global) else {
        return Ok(passed_on::OURS);
    };
    let code = passed(global, settings.config.clone(), options).await;
    let code = passed_on::or_ours(code);
    settings.name_mistakes();
    Ok(code)
}

async fn passed(global: &Global, config: Config, options: Kubectl) -> Result<u8, Failures> {
    let context = one_host::of_control_plane(global, config).await?;
    // kubectl's end is ours: whoever follows a log stops with Ctrl-C, and nothing has gone wrong then.
    let _mine = stop::answer_myself().await;
    let code = if let Some(kubectl) = local_kubectl() {
        here(&context, kubectl, &options.args).await
    } else {
        let mut requests = Requests::listen();
        tokio::select! {
            code = there(&context, &options.args) => code,
            request = requests.next() => Ok(request.exit_code()),
        }
    };
    code.map_err(Failures::from)
}

/// The user's own kubectl, where there is one.
fn local_kubectl() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join("kubectl"))
        .find(|file| file.is_file())
}

/// The user's kubectl, pointed at a tunnel that ends on loopback for as long as it runs. Kubernetes' TLS and client
/// certificate guard that port: whoever else connects to it gets a 401.
async fn here(context: &Context, kubectl: PathBuf, args: &[String]) -> Result<u8> {
    let server = context.world.first_server().await?;
    let address = address_of(&context.world.plan, server.name())?;
    let tunnel = tunnel::loopback(server, &address, API_PORT).await?;
    let saved = context.home.kubeconfig();
    let text = fs_err::read_to_string(&saved).map_err(|error| {
        Failure::new(Code::LocalFile, "the cluster's kubeconfig is not here")
            .because(error)
            .hint("slicer-k3s init writes it")
    })?;
    let name = saved.display().to_string();
    let server = format!("https://{}", tunnel.address());
    let config = kubeconfig::at(kubeconfig::parse(&text, &name)?, &server, &name)?;
    let file = passing(context.home.path(), &crate::yaml::write(&config)?)?;
    let mut requests = Requests::listen();
    let failed = |error| Failure::new(Code::Command, "cannot run kubectl").because(error);
    let mut child = remote::child(kubectl)
        .args(args)
        .env("KUBECONFIG", file.path())
        .spawn()
        .map_err(failed)?;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status.map_err(failed)?,
            // Ctrl-C reaches it from the terminal as it reaches us; it may have a better answer than to end.
            request = requests.next() => if request != Request::Interrupt {
                child.start_kill().map_err(failed)?;
            },
        }
    };
    let code = status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    Ok(passed_on::code(code))
}

/// Where a server's API is reached from the server itself: not by its loopback, which k3s trusts.
fn address_of(plan: &Plan, server: &str) -> Result<String> {
    let mut servers = plan.servers.iter();
    let found = servers.find(|known| known.name == server);
    let found = found.ok_or_else(|| {
        Failure::new(Code::Vm, format!("{server} is not in the plan"))
            .hint("slicer-k3s status shows the servers")
    })?;
    Ok(found.address.to_string())
}

/// How the files begin that [`passing`] makes.
const PASSING: &str = "kubectl-";

/// A file for one kubectl, gone with its guard. It holds an administrator's key, so it lies where that lies anyway, and what
/// a killed run has left goes with the next one.
fn passing(directory: &Path, text: &str) -> Result<tempfile::NamedTempFile> {
    sweep(directory);
    let write = || -> std::io::Result<tempfile::NamedTempFile> {
        // tempfile creates 0600.
        let mut file = tempfile::Builder::new()
            .prefix(PASSING)
            .suffix(".yaml")
            .tempfile_in(directory)?;
        // In use as long as it is locked.
        file.as_file().lock()?;
        file.write_all(text.as_bytes())?;
        Ok(file)
    };
    write().map_err(|error| {
        Failure::new(
            Code::LocalFile,
            format!("cannot write into {}", directory.display()),
        )
        .because(error)
        .hint(format!("ls -ld {0}; df -h {0}", directory.display()))
    })
}

/// Removes such files of processes that are no more. What cannot be removed is left.
fn sweep(directory: &Path) {
    let Ok(entries) = fs_err::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Ok(file) = fs_err::File::open(entry.path()) else {
            continue;
        };
        // One that was made this very moment may not be locked yet.
        let old = file.metadata().and_then(|facts| facts.modified());
        let old = old.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > YOUNG));
        let ours = name.to_string_lossy().starts_with(PASSING);
        if ours && old && file.file().try_lock().is_ok() {
            let _ = fs_err::remove_file(entry.path());
        }
    }
}

/// A file of this age is locked by whoever made it, or left.
const YOUNG: Duration = Duration::from_mins(1);

/// The server's kubectl; files named by `-f` travel by stdin.
async fn there(context: &Context, args: &[String]) -> Result<u8> {
    let (args, files) = travel(args)?;
    let server = context.world.first_server().await?;
    let words = ["k3s", "kubectl"]
        .into_iter()
        .chain(args.iter().map(String::as_str));
    let script = Script::words(words);
    let status = if files.is_empty() {
        let tty = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        server.attach(script.text(), tty).await?
    } else {
        server
            .attach_with(script.text(), &read_all(&files)?)
            .await?
    };
    Ok(passed_on::code(status))
}

/// The files one after the other, as one stream of YAML documents.
fn read_all(files: &[PathBuf]) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    for file in files {
        let content = fs_err::read(file).map_err(|error| {
            Failure::new(Code::LocalFile, "cannot read a manifest").because(error)
        })?;
        all.extend_from_slice(b"\n---\n");
        all.extend(content);
    }
    Ok(all)
}

/// What needs files, programs or ports of this workstation cannot run on a server.
const STAYS: [&str; 6] = ["config", "cp", "edit", "plugin", "port-forward", "proxy"];

/// Flags whose value is a path that only this workstation has.
const LOCAL_FLAGS: [&str; 6] = [
    "--kubeconfig",
    "--kustomize",
    "-k",
    "--from-file",
    "--from-env-file",
    "--patch-file",
];

/// The first word that is neither a flag nor the value of one of kubectl's global flags.
fn verb(args: &[String]) -> Option<&String> {
    // Source: kubernetes/cli-runtime pkg/genericclioptions/config_flags.go; kubectl pkg/cmd/cmd.go (profiling), klog.
    const WITH_VALUE: [&str; 28] = [
        "-n",
        "-s",
        "-v",
        "--as",
        "--as-group",
        "--as-uid",
        "--as-user-extra",
        "--cache-dir",
        "--certificate-authority",
        "--client-certificate",
        "--client-key",
        "--cluster",
        "--context",
        "--kubeconfig",
        "--kuberc",
        "--log-flush-frequency",
        "--namespace",
        "--password",
        "--profile",
        "--profile-output",
        "--request-timeout",
        "--server",
        "--tls-server-name",
        "--token",
        "--user",
        "--username",
        "--v",
        "--vmodule",
    ];
    let mut words = args.iter();
    while let Some(word) = words.next() {
        if WITH_VALUE.contains(&word.as_str()) {
            words.next();
        } else if !word.starts_with('-') {
            return Some(word);
        }
    }
    None
}

/// A flag and the value that is joined to it: `--flag=VALUE`, `-fVALUE`, `-f=VALUE`.
fn flag_and_value(arg: &str) -> (&str, Option<String>) {
    let short = arg.starts_with("-f") || arg.starts_with("-k");
    match arg.split_once('=') {
        Some((flag, value)) if !short || flag.len() == 2 => (flag, Some(value.to_owned())),
        _ if short && arg.len() > 2 => (&arg[..2], Some(arg[2..].to_owned())),
        _ => (arg, None),
    }
}

/// Rewrites arguments for the server's kubectl: `-f FILE` becomes `-f -`, its files are named in the second value.
fn travel(args: &[String]) -> Result<(Vec<String>, Vec<PathBuf>)> {
    let refuse = |what: &str| {
        Failure::new(
            Code::Config,
            format!("`{what}` needs this workstation's own kubectl"),
        )
        .because("no kubectl is installed here, so the server's is used over SSH")
        .hint("install kubectl on this workstation; the tunnel is ours")
    };
    let (mut kept, mut files) = (Vec::new(), Vec::new());
    let own = args
        .iter()
        .position(|arg| arg == "--")
        .unwrap_or(args.len());
    let verb = verb(&args[..own]);
    if let Some(verb) = verb.filter(|verb| STAYS.contains(&verb.as_str())) {
        return Err(refuse(verb));
    }
    // `logs -f` and `rollout … -f`-like booleans: only verbs that read manifests take a file after -f.
    let follows = verb.is_some_and(|verb| verb == "logs");
    let mut rest = args[..own].iter();
    while let Some(arg) = rest.next() {
        let (flag, joined) = flag_and_value(arg);
        if LOCAL_FLAGS.contains(&flag) {
            return Err(refuse(flag));
        }
        if follows || !matches!(flag, "-f" | "--filename") {
            kept.push(arg.clone());
            continue;
        }
        let file = match joined {
            Some(file) => file,
            None => rest.next().cloned().ok_or_else(|| {
                Failure::new(Code::Config, format!("`{flag}` names no file"))
                    .hint("give a file, a URL or -")
            })?,
        };
        if file == "-" || file.starts_with("http://") || file.starts_with("https://") {
            kept.extend([flag.to_owned(), file]);
        } else if PathBuf::from(&file).is_dir() {
            return Err(refuse(&format!("{flag} {file}/")));
        } else {
            if files.is_empty() {
                kept.extend([flag.to_owned(), "-".to_owned()]);
            }
            files.push(PathBuf::from(file));
        }
    }
    kept.extend_from_slice(&args[own..]);
    Ok((kept, files))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn files_travel_by_stdin_once() {
        let line = "apply -f a.yaml --filename=b.yaml -fc=.yaml -f=d.yaml -n x";
        let (args, files) = travel(&words(line)).unwrap();
        assert_eq!(args, words("apply -f - -n x"));
        assert_eq!(
            files,
            ["a.yaml", "b.yaml", "c=.yaml", "d.yaml"].map(PathBuf::from)
        );
    }

    /// For who comes from a server's own loopback k3s asks for no credentials at `/db/info`.
    #[test]
    fn the_tunnel_ends_at_the_servers_own_address() {
        let plan = crate::testing::plan();
        assert_eq!(address_of(&plan, "k3s-cp-2").unwrap(), "192.168.137.3");
        assert!(address_of(&plan, "k3s-cp-9").is_err());
    }

    /// A second Ctrl-C left the administrator's key in /tmp.
    #[test]
    fn what_a_killed_run_has_left_goes_with_the_next_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let long_ago = std::time::SystemTime::now() - Duration::from_hours(1);
        for name in [
            "kubectl-left.yaml",
            "kubectl-used.yaml",
            "kubectl-new.yaml",
            "kubeconfig",
        ] {
            fs_err::write(path(name), "key").unwrap();
            if name != "kubectl-new.yaml" {
                let file = std::fs::File::options()
                    .append(true)
                    .open(path(name))
                    .unwrap();
                file.set_modified(long_ago).unwrap();
            }
        }
        let used = std::fs::File::open(path("kubectl-used.yaml")).unwrap();
        used.lock().unwrap();
        let file = passing(directory.path(), "text").unwrap();
        assert_eq!(crate::files::tests::mode(file.path()), 0o600);
        for (name, there) in [
            ("kubectl-left.yaml", false),
            ("kubectl-used.yaml", true),
            ("kubectl-new.yaml", true),
            ("kubeconfig", true),
        ] {
            assert_eq!(path(name).exists(), there, "{name}");
        }
        let made = file.path().to_owned();
        drop(file);
        assert!(!made.exists());
    }

    #[test]
    fn following_logs_names_no_file_and_a_command_in_a_pod_is_left_alone() {
        assert_eq!(
            travel(&words("logs -f pod/x")).unwrap().0,
            words("logs -f pod/x")
        );
        let exec = words("exec x -- tail -f /log");
        assert_eq!(travel(&exec).unwrap().0, exec);
    }

    #[test]
    fn what_needs_this_workstation_is_refused_by_name() {
        for (line, name) in [
            ("port-forward x 80", "port-forward"),
            ("-n a cp x y", "cp"),
            ("create secret generic a --from-file=b", "--from-file"),
            ("apply -k dir", "-k"),
            ("apply -kdir", "-k"),
            ("apply -f /", "-f //"),
            ("--as me --as-group=a cp x y", "cp"),
            (
                "--user a --cluster b --token c --request-timeout 5s edit x",
                "edit",
            ),
        ] {
            let failure = travel(&words(line)).unwrap_err();
            assert!(failure.what.contains(name), "{line}: {}", failure.what);
        }
    }
}
