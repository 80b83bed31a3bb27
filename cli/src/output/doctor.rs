//! What `doctor` shows.

use daxshim_core::host::{Machine, PmemDevice, shown};

use daxshim_guard::survey::Survey;

use super::{GOOD, ODD, bytes, styled, table};

/// The machine, a line for each thing, what is missing, and a summary.
pub fn text(machine: &Machine, guard: &Survey) -> String {
    let mut rows = facts(machine);
    rows.push(vec![
        "guard in the kernel".into(),
        super::guard::possible(guard),
    ]);
    rows.push(vec![
        "stacks of check".into(),
        crate::stacks::missing().unwrap_or_else(|| "yes".into()),
    ]);
    let mut text = table(rows);
    if !machine.advice.is_empty() {
        text += "\n\nmissing";
        for advice in &machine.advice {
            let missing = styled(ODD, &advice.missing);
            text += &format!("\n  {missing}\n    {}", advice.remedy);
        }
    }
    format!("{text}\n\n{}", summary(machine))
}

fn facts(machine: &Machine) -> Vec<Vec<String>> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut row = |label: &str, value: String| rows.push(vec![label.into(), value]);
    for found in &machine.devices {
        row("persistent memory", device(found));
    }
    if machine.devices.is_empty() {
        row("persistent memory", "none".into());
    }
    for region in &machine.regions {
        let domain = region.persistence_domain.as_deref();
        row(
            "persistence domain",
            format!("{}: {}", region.name, domain.unwrap_or("not stated")),
        );
    }
    for mount in &machine.mounts {
        row(
            "DAX mount",
            format!(
                "{} ({} on {}, dax={})",
                shown(&mount.point),
                mount.filesystem,
                mount.source,
                mount.dax.as_deref().unwrap_or("inode")
            ),
        );
    }
    if machine.mounts.is_empty() {
        row("DAX mount", "none".into());
    }
    row("cache line write-back", machine.flush.into());
    row(
        "eADR",
        if machine.eadr {
            "yes: stores need no write-back".into()
        } else {
            "no: stores are written back".into()
        },
    );
    let kernel = &machine.kernel;
    row(
        "kernel",
        format!(
            "{}; MAP_SYNC {}, getxattrat {}, user attributes on tmpfs {}",
            kernel.release,
            yes(Some(kernel.map_sync)),
            yes(Some(kernel.getxattrat)),
            yes(kernel.tmpfs_user_xattr)
        ),
    );
    let has = &machine.capabilities;
    row(
        "capabilities",
        [
            (has.linux_immutable, "CAP_LINUX_IMMUTABLE"),
            (has.sys_admin, "CAP_SYS_ADMIN"),
            (has.lease, "CAP_LEASE"),
            (has.sys_ptrace, "CAP_SYS_PTRACE"),
        ]
        .map(|(has, name)| format!("{name} {}", yes(Some(has))))
        .join(", "),
    );
    row(
        "emulation",
        match (&machine.emulation.directory, machine.emulation.attribute) {
            (Some(directory), Some(attribute)) => {
                format!("{} ({attribute})", shown(directory))
            }
            _ => "not possible".into(),
        },
    );
    rows
}

fn device(device: &PmemDevice) -> String {
    let cache = match device.write_cache {
        Some(true) => ", write cache on",
        Some(false) => ", write cache off",
        None => "",
    };
    let dax = if device.dax { "" } else { ", no DAX" };
    format!("/dev/{}, {}{dax}{cache}", device.name, bytes(device.size))
}

fn yes(value: Option<bool>) -> &'static str {
    match value {
        Some(true) => "yes",
        Some(false) => "no",
        None => "unknown",
    }
}

fn summary(machine: &Machine) -> String {
    if machine.mounts.is_empty() {
        let text = if machine.emulation.attribute.is_some() {
            "No fs-DAX here: emulated tags work, for development."
        } else {
            "No fs-DAX here, and no place for emulated tags."
        };
        styled(ODD, text)
    } else {
        styled(
            GOOD,
            &format!("fs-DAX is here; syncs become {}.", machine.flush),
        )
    }
}
