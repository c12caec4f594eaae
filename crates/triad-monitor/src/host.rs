//! The host's state, read from `/proc` and statvfs(3).

use std::io;
use std::path::{Path, PathBuf};

use procfs::net::DeviceStatus;
use procfs::process::{MountInfo, Process};
use procfs::{Current, CurrentSI, KernelStats, LoadAverage, Meminfo, ProcError};

/// What a CPU spends its time on, by node_exporter's names and in the order of [`HostReading::cpus_s`].
pub const CPU_MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];

/// A host at one moment. Counters count since it booted.
#[derive(Clone, Debug, PartialEq)]
pub struct HostReading {
    /// For each CPU, the seconds spent in each of [`CPU_MODES`].
    pub cpus_s: Vec<[f64; 8]>,
    /// Its memory.
    pub memory: Memory,
    /// Processes that run or wait for a disk, averaged over 1, 5 and 15 minutes.
    pub load: [f64; 3],
    /// The filesystem asked for.
    pub filesystem: Filesystem,
    /// Network interfaces of this process's namespace, by name.
    pub interfaces: Vec<Interface>,
    /// When it booted, in seconds since 1970.
    pub boot_time_s: u64,
    /// Connection tracking of this process's namespace, where the kernel has it loaded.
    pub conntrack: Option<Conntrack>,
}

/// `/proc/meminfo`, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// All that the kernel can use.
    pub total_bytes: u64,
    /// Unused.
    pub free_bytes: u64,
    /// What a new process could get without swapping.
    pub available_bytes: u64,
    /// Cache of block devices.
    pub buffers_bytes: u64,
    /// Cache of files.
    pub cached_bytes: u64,
    /// All swap.
    pub swap_total_bytes: u64,
    /// Unused swap.
    pub swap_free_bytes: u64,
}

/// A mounted filesystem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filesystem {
    /// Where it is mounted.
    pub mount_point: PathBuf,
    /// What is mounted: a device, or a name that the filesystem chose.
    pub device: String,
    /// Its type: `ext4`.
    pub kind: String,
    /// Its size.
    pub size_bytes: u64,
    /// Unused.
    pub free_bytes: u64,
    /// Unused, and not reserved for root.
    pub available_bytes: u64,
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name: `eth0`.
    pub name: String,
    /// What it received.
    pub received: PacketCounts,
    /// What it sent.
    pub sent: PacketCounts,
}

/// What went through an interface in one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PacketCounts {
    /// Bytes.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
    /// Packets with errors.
    pub errors: u64,
    /// Packets dropped by the interface or its driver.
    pub dropped: u64,
}

/// Connection tracking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conntrack {
    /// Connections in the table.
    pub entries: u64,
    /// The most it holds; new connections are dropped beyond that.
    pub limit: u64,
}

impl HostReading {
    /// Reads all of it; `disk_path` is any path on the filesystem to report.
    ///
    /// An error names the file that could not be read. Takes about a millisecond and never waits for a disk.
    pub fn take(disk_path: &Path) -> io::Result<Self> {
        let stat = KernelStats::current().map_err(io_error)?;
        let load = LoadAverage::current().map_err(io_error)?;
        Ok(Self {
            cpus_s: stat.cpu_time.iter().map(cpu_seconds).collect(),
            memory: memory()?,
            load: [load.one, load.five, load.fifteen].map(two_decimals),
            filesystem: filesystem(disk_path)?,
            interfaces: interfaces()?,
            boot_time_s: stat.btime,
            conntrack: conntrack()?,
        })
    }
}

fn cpu_seconds(cpu: &procfs::CpuTime) -> [f64; 8] {
    let late_fields = [cpu.iowait, cpu.irq, cpu.softirq, cpu.steal].map(Option::unwrap_or_default);
    let [iowait, irq, softirq, steal] = late_fields;
    [cpu.user, cpu.nice, cpu.system, cpu.idle, iowait, irq, softirq, steal]
        .map(|ticks| ticks as f64 / procfs::ticks_per_second() as f64)
}

fn memory() -> io::Result<Memory> {
    let info = Meminfo::current().map_err(io_error)?;
    Ok(Memory {
        total_bytes: info.mem_total,
        free_bytes: info.mem_free,
        // Every kernel since 3.14 says it.
        available_bytes: info.mem_available.unwrap_or(info.mem_free),
        buffers_bytes: info.buffers,
        cached_bytes: info.cached,
        swap_total_bytes: info.swap_total,
        swap_free_bytes: info.swap_free,
    })
}

fn filesystem(path: &Path) -> io::Result<Filesystem> {
    let path = path.canonicalize().map_err(|error| about(path, &error))?;
    let sizes = nix::sys::statvfs::statvfs(&path).map_err(|error| about(&path, &error.into()))?;
    let mounts = Process::myself().and_then(|process| process.mountinfo()).map_err(io_error)?;
    let mount = mount_of(&path, mounts.0).ok_or_else(|| about(&path, &io::Error::other("no mount holds it")))?;
    let block_bytes = sizes.fragment_size();
    Ok(Filesystem {
        mount_point: mount.mount_point,
        device: mount.mount_source.unwrap_or_default(),
        kind: mount.fs_type,
        size_bytes: sizes.blocks() * block_bytes,
        free_bytes: sizes.blocks_free() * block_bytes,
        available_bytes: sizes.blocks_available() * block_bytes,
    })
}

/// The mount that `path` lies on: the deepest, and of several on one spot the last, which hides the others.
fn mount_of(path: &Path, mounts: Vec<MountInfo>) -> Option<MountInfo> {
    mounts
        .into_iter()
        .filter(|mount| path.starts_with(&mount.mount_point))
        .max_by_key(|mount| mount.mount_point.components().count())
}

fn interfaces() -> io::Result<Vec<Interface>> {
    let devices = procfs::net::dev_status().map_err(io_error)?;
    let mut interfaces: Vec<Interface> = devices.into_values().map(interface).collect();
    interfaces.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(interfaces)
}

fn interface(device: DeviceStatus) -> Interface {
    Interface {
        name: device.name,
        received: PacketCounts {
            bytes: device.recv_bytes,
            packets: device.recv_packets,
            errors: device.recv_errs,
            dropped: device.recv_drop,
        },
        sent: PacketCounts {
            bytes: device.sent_bytes,
            packets: device.sent_packets,
            errors: device.sent_errs,
            dropped: device.sent_drop,
        },
    }
}

fn conntrack() -> io::Result<Option<Conntrack>> {
    let entries = optional_number("/proc/sys/net/netfilter/nf_conntrack_count")?;
    let limit = optional_number("/proc/sys/net/netfilter/nf_conntrack_max")?;
    Ok(entries.zip(limit).map(|(entries, limit)| Conntrack { entries, limit }))
}

/// The number in a file; `None` where there is no such file.
fn optional_number(path: &str) -> io::Result<Option<u64>> {
    match std::fs::read_to_string(path) {
        Ok(text) => text.trim().parse().map(Some).map_err(|error| about(Path::new(path), &io::Error::other(error))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(about(Path::new(path), &error)),
    }
}

/// The kernel writes two decimals; what an f32 adds to them is noise.
fn two_decimals(load: f32) -> f64 {
    (f64::from(load) * 100.0).round() / 100.0
}

fn io_error(error: ProcError) -> io::Error {
    io::Error::other(error)
}

fn about(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::HostReading;

    #[test]
    fn this_machine_has_cpus_memory_a_disk_and_loopback() {
        let reading = HostReading::take(Path::new("/")).unwrap();
        assert!(reading.cpus_s.iter().flatten().sum::<f64>() > 0.0, "{reading:?}");
        let memory = &reading.memory;
        assert!(memory.total_bytes > 1 << 20 && memory.available_bytes <= memory.total_bytes, "{reading:?}");
        let disk = &reading.filesystem;
        assert_eq!(disk.mount_point, Path::new("/"));
        assert!(disk.size_bytes >= disk.free_bytes && disk.free_bytes >= disk.available_bytes, "{reading:?}");
        assert!(reading.interfaces.iter().any(|interface| interface.name == "lo"), "{reading:?}");
        assert!(reading.boot_time_s > 1_000_000_000, "{reading:?}");
    }

    #[test]
    fn a_path_is_on_the_deepest_mount_above_it() {
        let reading = HostReading::take(Path::new("/proc/self")).unwrap();
        assert_eq!((reading.filesystem.mount_point.as_path(), &*reading.filesystem.kind), (Path::new("/proc"), "proc"));
    }

    #[test]
    fn an_error_names_the_path() {
        let error = HostReading::take(Path::new("/no/such/folder")).unwrap_err();
        assert_eq!(error.to_string(), "/no/such/folder: No such file or directory (os error 2)");
    }
}
