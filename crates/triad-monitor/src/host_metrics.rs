//! A host's reading under node_exporter's names; pure.

use crate::exposition::Exposition;
use crate::host::{CPU_MODES, Conntrack, Filesystem, HostReading, Interface, Memory, PacketCounts};

/// Writes all of a reading.
pub(crate) fn host(page: &mut Exposition, host: &HostReading) {
    cpu(page, &host.cpus_s);
    memory(page, &host.memory);
    for (minutes, load) in ["1", "5", "15"].into_iter().zip(host.load) {
        let help = format!("{minutes}m load average.");
        page.gauge(&format!("node_load{minutes}"), &help).number(&[], load);
    }
    filesystem(page, &host.filesystem);
    network(page, &host.interfaces);
    page.gauge("node_boot_time_seconds", "Node boot time, in unixtime.").count(&[], host.boot_time_s);
    if let Some(table) = &host.conntrack {
        conntrack(page, table);
    }
}

fn cpu(page: &mut Exposition, cpus_s: &[[f64; 8]]) {
    let mut family = page.counter("node_cpu_seconds_total", "Seconds the CPUs spent in each mode.");
    for (index, modes) in cpus_s.iter().enumerate() {
        for (mode, seconds) in CPU_MODES.iter().zip(modes) {
            family.number(&[("cpu", &index.to_string()), ("mode", mode)], *seconds);
        }
    }
}

fn memory(page: &mut Exposition, memory: &Memory) {
    let fields = [
        ("MemTotal", memory.total_bytes),
        ("MemFree", memory.free_bytes),
        ("MemAvailable", memory.available_bytes),
        ("Buffers", memory.buffers_bytes),
        ("Cached", memory.cached_bytes),
        ("SwapTotal", memory.swap_total_bytes),
        ("SwapFree", memory.swap_free_bytes),
    ];
    for (field, bytes) in fields {
        let help = format!("Memory information field {field}_bytes.");
        page.gauge(&format!("node_memory_{field}_bytes"), &help).count(&[], bytes);
    }
}

fn filesystem(page: &mut Exposition, disk: &Filesystem) {
    let mount_point = disk.mount_point.to_string_lossy();
    let labels = [("device", &*disk.device), ("fstype", &*disk.kind), ("mountpoint", &*mount_point)];
    page.gauge("node_filesystem_size_bytes", "Filesystem size in bytes.").count(&labels, disk.size_bytes);
    page.gauge("node_filesystem_free_bytes", "Filesystem free space in bytes.").count(&labels, disk.free_bytes);
    page.gauge("node_filesystem_avail_bytes", "Filesystem space available to non-root users in bytes.")
        .count(&labels, disk.available_bytes);
}

fn network(page: &mut Exposition, interfaces: &[Interface]) {
    type Field = fn(&PacketCounts) -> u64;
    let fields: [(&str, Field); 4] = [
        ("bytes", |counts| counts.bytes),
        ("packets", |counts| counts.packets),
        ("errs", |counts| counts.errors),
        ("drop", |counts| counts.dropped),
    ];
    for (field, value) in fields {
        for direction in ["receive", "transmit"] {
            let name = format!("node_network_{direction}_{field}_total");
            let help = format!("Network device statistic {direction}_{field}.");
            let mut family = page.counter(&name, &help);
            for interface in interfaces {
                let counts = if direction == "receive" { &interface.received } else { &interface.sent };
                family.count(&[("device", &interface.name)], value(counts));
            }
        }
    }
}

fn conntrack(page: &mut Exposition, table: &Conntrack) {
    page.gauge("node_nf_conntrack_entries", "Number of currently allocated flow entries for connection tracking.")
        .count(&[], table.entries);
    page.gauge("node_nf_conntrack_entries_limit", "Maximum size of connection tracking table.").count(&[], table.limit);
}
