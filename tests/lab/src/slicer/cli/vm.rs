//! `slicer vm …`.

use std::{fmt::Write as _, time::Duration};

use anyhow::{Context, Result, bail};
use http_body_util::BodyExt;
use hyper::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    args::{Add, Vm},
    client::{self, Client, escape, full, query},
    connect::Connection,
    copy, exec, route, shell, table,
};
use crate::{say, time};

/// Runs a command about VMs; gives the exit code.
pub(crate) async fn run(connection: &Connection, command: Vm) -> Result<u8> {
    if let Vm::Route { config, os } = &command {
        route::print(config, os.as_deref())?;
        return Ok(0);
    }
    let client = connection.client()?;
    match command {
        Vm::List { json } => list(&client, json).await?,
        Vm::Group { json } => groups(&client, json).await?,
        Vm::Add(order) => add(&client, *order).await?,
        Vm::Delete { vm, group } => delete(&client, &vm, group).await?,
        Vm::Exec(order) => return exec::run(&client, order).await,
        Vm::Shell(order) => return shell::run(&client, order).await,
        Vm::Cp(order) => copy::run(&client, &order).await?,
        Vm::Logs { vm, lines } => {
            let answer = client
                .get(&format!("/vm/{}/logs?lines={lines}", escape(&vm)))
                .await?;
            say::line(answer["content"].as_str().unwrap_or_default());
        }
        Vm::Health { vm, json } => health(&client, &vm, json).await?,
        Vm::Ready {
            vm,
            userdata,
            timeout,
            interval,
            ..
        } => {
            ready(&client, &vm, userdata, &timeout, &interval).await?;
        }
        Vm::Shutdown { vm, action } => {
            let query = query(action.map(|action| ("action", action)));
            post(&client, &vm, &format!("shutdown{query}")).await?;
        }
        Vm::Pause { vm } => post(&client, &vm, "pause").await?,
        Vm::Resume { vm } => post(&client, &vm, "resume").await?,
        Vm::Relaunch { vm } => post(&client, &vm, "relaunch").await?,
        Vm::Route { .. } => {}
    }
    Ok(0)
}

async fn list(client: &Client, as_json: bool) -> Result<()> {
    let nodes = client.get("/nodes").await?;
    if as_json {
        say::line(serde_json::to_string_pretty(&nodes)?);
        return Ok(());
    }
    let rows: Vec<Vec<String>> = nodes
        .as_array()
        .context("the daemon's list is no list")?
        .iter()
        .map(|node| {
            let ram = node["ram_bytes"].as_u64().unwrap_or(0) >> 30;
            let tags: Vec<&str> = node["tags"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            // A table has neither fractions nor zones.
            let created = text(node, "created_at").replace('T', " ");
            let created = created.chars().take(19).collect();
            vec![
                text(node, "hostname"),
                text(node, "ip"),
                format!("{ram}GiB"),
                node["cpus"].to_string(),
                text(node, "status"),
                created,
                tags.join(","),
            ]
        })
        .collect();
    say::line(table::render(
        &["HOSTNAME", "IP", "RAM", "CPUS", "STATUS", "CREATED", "TAGS"],
        &rows,
    ));
    Ok(())
}

async fn groups(client: &Client, as_json: bool) -> Result<()> {
    let groups = client.get_joined("/hostgroup").await?;
    if as_json {
        say::line(serde_json::to_string_pretty(&groups)?);
        return Ok(());
    }
    let rows: Vec<Vec<String>> = groups
        .as_array()
        .context("the daemon's list is no list")?
        .iter()
        .map(|group| {
            let ram = group["ram_bytes"].as_u64().unwrap_or(0) >> 30;
            let (count, cpus) = (group["count"].to_string(), group["cpus"].to_string());
            vec![
                text(group, "name"),
                count,
                format!("{ram}GiB"),
                cpus,
                text(group, "arch"),
            ]
        })
        .collect();
    say::line(table::render(
        &["NAME", "COUNT", "RAM", "CPUS", "ARCH"],
        &rows,
    ));
    Ok(())
}

async fn add(client: &Client, order: Add) -> Result<()> {
    let group = match &order.group {
        Some(group) => group.clone(),
        None => only_group(client).await?,
    };
    let userdata = match (&order.userdata, &order.userdata_file) {
        (Some(text), _) => Some(text.clone()),
        (None, Some(path)) => Some(
            std::fs::read_to_string(path)
                .with_context(|| format!("failed to read {}", path.display()))?,
        ),
        (None, None) => None,
    };
    let ram = order
        .ram_bytes
        .or(order.ram_mb.map(|mb| mb << 20))
        .or(order.ram_gb.map(|gb| gb << 30));
    let secrets: Vec<String> = order.secret.into_iter().chain(order.secrets).collect();
    let mut body = json!({
        "cpus": order.cpus,
        "ram_bytes": ram,
        "userdata": userdata,
        "ssh_keys": order.ssh_keys,
        "import_user": order.import_user,
        "tags": order.tags,
        "secrets": secrets,
        "persistent": order.persistent,
    });
    // What is not said is left out: the API takes no null.
    if let Some(fields) = body.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    let wait = match (order.wait_userdata, order.wait) {
        (true, _) => Some("userdata"),
        (false, true) => Some("agent"),
        _ => None,
    };
    let timeout = order.timeout.map(|timeout| ("timeout", timeout));
    let query = query(
        wait.map(|wait| ("wait", wait.to_owned()))
            .into_iter()
            .chain(timeout),
    );
    let path = format!("/hostgroup/{}/nodes{query}", escape(&group));
    let response = client
        .send_joined(Method::POST, &path, full(body.to_string()))
        .await?;
    let vm = client::json(response).await?;
    if order.json {
        say::line(serde_json::to_string_pretty(&vm)?);
        return Ok(());
    }
    let mut lines = "VM created\n".to_owned();
    for (label, key) in [
        ("Hostname:", "hostname"),
        ("Group:   ", "hostgroup"),
        ("IP:      ", "ip"),
    ] {
        let _ = writeln!(lines, "  {label} {}", text(&vm, key));
    }
    let _ = writeln!(lines, "  Persistent: {}", vm["persistent"]);
    let _ = write!(lines, "  Created:  {}", text(&vm, "created_at"));
    say::line(lines);
    Ok(())
}

async fn only_group(client: &Client) -> Result<String> {
    let groups = client.get_joined("/hostgroup").await?;
    let names: Vec<String> = groups
        .as_array()
        .into_iter()
        .flatten()
        .map(|group| text(group, "name"))
        .collect();
    match names.as_slice() {
        [name] => Ok(name.clone()),
        _ => bail!("name a host group: {}", names.join(", ")),
    }
}

async fn delete(client: &Client, vm: &str, group: Option<String>) -> Result<()> {
    let group = if let Some(group) = group {
        group
    } else {
        let nodes = client.get("/nodes").await?;
        let node = nodes
            .as_array()
            .into_iter()
            .flatten()
            .find(|node| node["hostname"] == vm)
            .with_context(|| format!("VM {vm} not found"))?;
        // Old daemons do not tell the group: it is the hostname without its number.
        node["hostgroup"]
            .as_str()
            .or_else(|| vm.rsplit_once('-').map(|(group, _)| group))
            .unwrap_or_default()
            .to_owned()
    };
    let path = format!("/hostgroup/{}/nodes/{}", escape(&group), escape(vm));
    client.send_joined(Method::DELETE, &path, full("")).await?;
    say::line(format!("VM deleted: {vm}"));
    Ok(())
}

async fn health(client: &Client, vm: &str, as_json: bool) -> Result<()> {
    let health = client.get(&format!("/vm/{}/health", escape(vm))).await?;
    if as_json {
        say::line(serde_json::to_string_pretty(&health)?);
        return Ok(());
    }
    say::line(format!("Hostname:      {vm}"));
    say::line(format!(
        "Agent:         {} up {}s",
        text(&health, "agent_version"),
        health["agent_uptime"]
    ));
    say::line(format!("System:        up {}s", health["system_uptime"]));
    say::line(format!("Userdata ran:  {}", health["userdata_ran"]));
    Ok(())
}

async fn ready(
    client: &Client,
    vm: &str,
    userdata: bool,
    limit: &str,
    interval: &str,
) -> Result<()> {
    let (limit, interval) = (time::go_duration(limit)?, time::go_duration(interval)?);
    let end = Instant::now() + limit;
    loop {
        let last = match client.get(&format!("/vm/{}/health", escape(vm))).await {
            Ok(health) if !userdata || health["userdata_ran"] == true => return Ok(()),
            Ok(_) => "userdata has not ended".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        if Instant::now() >= end {
            bail!("{vm} was not ready in time: {last}");
        }
        sleep(interval.max(Duration::from_millis(10))).await;
    }
}

async fn post(client: &Client, vm: &str, call: &str) -> Result<()> {
    let path = format!("/vm/{}/{call}", escape(vm));
    let response = client.send(Method::POST, &path, full("")).await?;
    let bytes = response.into_body().collect().await?.to_bytes();
    say::line(String::from_utf8_lossy(&bytes).trim());
    Ok(())
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}
