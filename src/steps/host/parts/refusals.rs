//! What is refused before anything is changed anywhere, and what must be shown by then.

use crate::failure::{Code, Failure, Failures, Result};
use crate::plan::{Host, Plan};
use crate::steps::Options;
use crate::steps::host::slicer_installed;
use crate::world::World;

/// Hosts on which Slicer would have to be installed, where the person did not allow it.
pub fn slicer_refusals(plan: &Plan, options: &Options) -> Failures {
    let (install, accepted) = (options.install_slicer, options.accept_slicer_licence);
    without_slicer(plan)
        .filter_map(|host| {
            slicer_installed::check_install_allowed(&host.name, install, accepted).err()
        })
        .collect()
}

/// Hosts on which no daemon could start, because there is no licence for it.
pub fn licence_refusals(plan: &Plan) -> Failures {
    plan.hosts
        .iter()
        .filter(|host| host.licence_file.is_none())
        .map(|host| {
            let name = &host.name;
            Failure::new(Code::SlicerLicence, format!("no Slicer licence on {name}"))
                .because("no user there has one at ~/.slicer/LICENSE")
                .hint(format!("on {name}: slicer activate; or name the file with `licence-file` under [hosts.{name}]"))
        })
        .collect()
}

/// What installing Slicer on hosts of this part of the plan would overwrite, host by host, for people.
pub async fn slicer_overwrites(world: &World, part: &Plan) -> Result<String> {
    let mut text = String::new();
    for host in without_slicer(part) {
        text += &slicer_installed::overwrites(world.host(&host.name)?).await?;
    }
    Ok(text)
}

fn without_slicer(plan: &Plan) -> impl Iterator<Item = &Host> {
    plan.hosts.iter().filter(|host| !host.slicer_installed)
}
