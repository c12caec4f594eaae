mod record;

use std::cell::RefCell;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail};
use clap::Args;
use indicatif::ProgressBar;
use triad_config::Loaded;
use triad_drill::{Interrupted, Progress, Report, Scenario, Site, Verdict};
use triad_lab::{Lab, LabName, Reservation};

use crate::{packages, print};

/// Where scenarios are looked for if none is named.
const FOLDER: &str = "drills";

/// Break the design in a lab, under load, and say what it cost
///
/// A scenario is a short text that says what is broken when, and what must hold by when. Each runs in a lab of its
/// design, which is brought up first and taken down afterwards. Exit code 0 when every promise holds and every
/// control was caught, 1 when not, 2 when a scenario or a design is unusable.
#[derive(Args)]
pub struct Drill {
    /// Scenario files, folders of them, or words: a folder in ./drills, or part of a name there [default: all of
    /// ./drills, without its folders]; with --survival, rows of the table [default: all]
    scenarios: Vec<PathBuf>,
    /// Drill this design, not the scenarios' own
    #[arg(long, value_name = "FILE")]
    design: Option<PathBuf>,
    /// Drill a lab that is up, which stays up
    #[arg(long, value_name = "NAME")]
    lab: Option<String>,
    /// Break the design at random for so many minutes, in place of scenarios; the faults are printed first
    #[arg(long, value_name = "MINUTES", requires = "design", conflicts_with = "scenarios",
        value_parser = clap::value_parser!(u64).range(1..=9))]
    monkey: Option<u64>,
    /// Drill every row of the design's survival table that a lab can produce, in place of scenarios
    #[arg(long, requires = "design", conflicts_with = "monkey")]
    survival: bool,
    /// Give every server of the design more to compute and to write than it can for so many minutes, in place of
    /// scenarios: nobody may take over
    #[arg(long, value_name = "MINUTES", requires = "design", conflicts_with_all = ["scenarios", "monkey", "survival"],
        value_parser = clap::value_parser!(u64).range(1..=59))]
    saturation: Option<u64>,
    /// Which random faults: the same seed, the same faults
    #[arg(long, default_value_t = 1, requires = "monkey")]
    seed: u64,
    /// Run each scenario that often; ends with a table of all runs, and tells in full only of those that are broken
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Write the table of failovers into a Markdown document, with the date and the machine, in place of older rows of
    /// the same drills; after each drill's last run
    #[arg(long, value_name = "FILE.md")]
    record: Option<PathBuf>,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
    /// Write a page with a timeline for each drill
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Install missing packages without asking
    #[arg(short, long)]
    yes: bool,
}

/// A scenario with the design it is for.
struct Task {
    scenario: Scenario,
    loaded: Loaded,
}

/// What came of all tasks.
#[derive(Default)]
struct Drilled {
    reports: Vec<Report>,
    /// Runs that could not be made.
    failures: usize,
    /// Why it ended before all was run.
    ended_early: Option<anyhow::Error>,
}

impl Drill {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let Some(tasks) = self.tasks()? else { return Ok(ExitCode::from(print::UNUSABLE)) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let Drilled { reports, failures, ended_early } = runtime.block_on(self.drill(&tasks))?;
        if let Some(path) = &self.report {
            let page = triad_drill::page(&reports);
            std::fs::write(path, page).with_context(|| format!("cannot write {}", path.display()))?;
            eprintln!("the report is in {}", path.display());
        }
        if self.json {
            print::json(&reports)?;
        } else {
            print::out(&if self.runs > 1 { runs(&reports) } else { text(&reports) });
        }
        if let Some(error) = ended_early {
            return Err(error);
        }
        let good = failures == 0 && reports.iter().all(|report| report.verdict.is_good());
        Ok(ExitCode::from(if good { print::DONE } else { print::FAILED }))
    }

    /// Reads every scenario and its design; prints what is wrong with any of them before anything starts.
    fn tasks(&self) -> anyhow::Result<Option<Vec<Task>>> {
        if let Some(minutes) = self.monkey {
            return Ok(self.random(minutes).map(|task| vec![task]));
        }
        if let Some(minutes) = self.saturation {
            return Ok(self.saturated(minutes).map(|task| vec![task]));
        }
        if self.survival {
            return Ok(self.survival_table());
        }
        let mut tasks = Vec::new();
        let mut usable = true;
        for path in self.files()? {
            match read(&path, self.design.as_deref())? {
                Some(task) => tasks.push(task),
                None => usable = false,
            }
        }
        // Drills of one design share a lab.
        tasks.sort_by(|a, b| (&a.loaded.file, a.scenario.disk_mb).cmp(&(&b.loaded.file, b.scenario.disk_mb)));
        Ok(usable.then_some(tasks))
    }

    /// A scenario of random faults; `None` if the design is wrong.
    fn random(&self, minutes: u64) -> Option<Task> {
        let loaded = super::load(self.design.as_deref()).ok()?;
        let text = triad_drill::monkey(self.seed, minutes, &loaded.folder.display().to_string(), &loaded.design);
        eprint!("{text}");
        made(&format!("monkey-{}", self.seed), &text).map(|scenario| Task { scenario, loaded })
    }

    /// A scenario of saturation; `None` if the design is wrong.
    fn saturated(&self, minutes: u64) -> Option<Task> {
        let loaded = super::load(self.design.as_deref()).ok()?;
        let text = triad_drill::saturation(minutes, &loaded.folder.display().to_string());
        eprint!("{text}");
        made("saturation", &text).map(|scenario| Task { scenario, loaded })
    }

    /// The rows of the survival table as scenarios; says which of them a lab cannot produce. `None` if the design is
    /// wrong.
    fn survival_table(&self) -> Option<Vec<Task>> {
        let loaded = super::load(self.design.as_deref()).ok()?;
        let mut tasks = Vec::new();
        let rows = triad_drill::rows(&loaded.folder.display().to_string(), &loaded.design);
        let unknown = self.scenarios.iter().find(|wanted| !rows.iter().any(|row| Path::new(&row.id) == *wanted));
        if let Some(unknown) = unknown {
            eprintln!("triad: the survival table has no row {}; `triad check` prints it", unknown.display());
            return None;
        }
        let wanted =
            |row: &triad_drill::Row| self.scenarios.is_empty() || self.scenarios.contains(&PathBuf::from(&row.id));
        for row in rows.into_iter().filter(wanted) {
            match row.scenario {
                Ok(text) => tasks.push(Task { scenario: made(&row.id, &text)?, loaded: loaded.clone() }),
                Err(why) => eprintln!("  {:<6}  {}: {why}", "not", row.id),
            }
        }
        Some(tasks)
    }

    fn files(&self) -> anyhow::Result<Vec<PathBuf>> {
        let standard = [PathBuf::from(FOLDER)];
        let named = if self.scenarios.is_empty() { &standard[..] } else { &self.scenarios };
        let mut files = Vec::new();
        for path in named {
            if path.is_dir() {
                files.extend(scenarios_in(path)?);
            } else if is_word(path) {
                files.extend(scenarios_named(path)?);
            } else {
                files.push(path.clone());
            }
        }
        let mut seen = HashSet::new();
        files.retain(|file| seen.insert(file.clone()));
        if files.is_empty() {
            bail!("no scenarios: name a .drill file, or a folder of them");
        }
        Ok(files)
    }

    /// Runs all `tasks`, each as often as it is wanted, and takes labs down also if that ends early.
    async fn drill(&self, tasks: &[Task]) -> anyhow::Result<Drilled> {
        let given = self.lab.clone().map(given_lab).transpose()?;
        let mut labs = Labs { own: None, given, yes: self.yes };
        let mut drilled = Drilled::default();
        drilled.ended_early = self.all(tasks, &mut labs, &mut drilled).await.err();
        labs.down().await?;
        Ok(drilled)
    }

    async fn all(&self, tasks: &[Task], labs: &mut Labs, drilled: &mut Drilled) -> anyhow::Result<()> {
        for task in tasks {
            self.repeat(task, labs, drilled).await?;
            // What takes hours is not to be lost with its last minute.
            if let Some(path) = &self.record {
                record::write(path, &drilled.reports, drilled.failures)?;
                eprintln!("the table is in {}", path.display());
            }
        }
        Ok(())
    }

    /// Runs `task` as often as it is wanted; an error if it is interrupted.
    async fn repeat(&self, task: &Task, labs: &mut Labs, drilled: &mut Drilled) -> anyhow::Result<()> {
        for _ in 0..self.runs {
            match drill_one(task, labs).await {
                Ok(report) => drilled.reports.push(report),
                Err(error) if error.is::<Interrupted>() => return Err(error),
                Err(error) => {
                    print::failure(&error);
                    drilled.failures += 1;
                    labs.down().await?;
                }
            }
        }
        Ok(())
    }
}

fn scenarios_in(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    let mut scenarios: Vec<PathBuf> =
        paths.into_iter().filter(|path| path.extension().is_some_and(|it| it == "drill")).collect();
    scenarios.sort();
    Ok(scenarios)
}

/// Whether it can be no file of a scenario, but part of one's name.
fn is_word(path: &Path) -> bool {
    !path.exists() && path.extension().is_none() && path.components().count() == 1
}

/// The scenarios in the standard folder whose names have `word` in them; all of the folder there that is called so.
fn scenarios_named(word: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let folder = Path::new(FOLDER).join(word);
    if folder.is_dir() {
        return scenarios_in(&folder);
    }
    let word = word.to_string_lossy();
    let mut scenarios = scenarios_in(Path::new(FOLDER)).with_context(|| format!("no file {word}"))?;
    scenarios.retain(|path| path.file_stem().is_some_and(|name| name.to_string_lossy().contains(&*word)));
    if scenarios.is_empty() {
        bail!("no file {word}, and no scenario in ./{FOLDER} has that in its name");
    }
    Ok(scenarios)
}

/// The scenario `name`, which was made here; `None` if it is wrong, which has been printed then.
fn made(name: &str, text: &str) -> Option<Scenario> {
    let wrong = |mistakes: Vec<_>| eprint!("{}", triad_drill::render(&mistakes, name, text));
    triad_drill::parse(name, text).map_err(wrong).ok()
}

/// Reads one scenario and its design; `None` if one of them is wrong, which has been printed then.
fn read(path: &Path, design: Option<&Path>) -> anyhow::Result<Option<Task>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let shown = path.display().to_string();
    let wrong = |mistakes: &[_]| eprint!("{}", triad_drill::render(mistakes, &shown, &text));
    let scenario = match triad_drill::parse(&name, &text) {
        Ok(scenario) => scenario,
        Err(mistakes) => {
            wrong(&mistakes);
            return Ok(None);
        }
    };
    let own = path.parent().unwrap_or(Path::new("")).join(&scenario.design);
    let Ok(loaded) = super::load(Some(design.unwrap_or(&own))) else { return Ok(None) };
    let mut mistakes = scenario.mistakes(&loaded.design);
    mistakes.extend(scenario.misplaced(&loaded.text));
    wrong(&mistakes);
    Ok(mistakes.is_empty().then_some(Task { scenario, loaded }))
}

/// A lab goes on to the next drill if it is as it was before: healthy, and with equal databases.
fn leaves_lab_whole(report: &Report) -> bool {
    report.verdict == Verdict::Holds
}

async fn drill_one(task: &Task, labs: &mut Labs) -> anyhow::Result<Report> {
    let lab = labs.lab_for(task).await?;
    if task.scenario.has_slow_clients() {
        packages::ensure(packages::SLOW_CLIENTS, labs.yes)?;
    }
    let executable = std::env::current_exe().context("cannot find this program's own file")?;
    let board = Board::new(&task.scenario.name);
    let site = Site { lab: &lab, design: &task.loaded.design, executable: &executable };
    let evidence = triad_drill::run(&task.scenario, &site, &|progress| board.show(&progress)).await?;
    let report = triad_drill::judge(&task.scenario, evidence);
    board.done(&report);
    if !leaves_lab_whole(&report) {
        labs.down().await?;
    }
    Ok(report)
}

/// The lab called `name`, reserved if it is there.
fn given_lab(name: String) -> anyhow::Result<(Lab, Option<Reservation>)> {
    let lab = Lab::named(LabName::new(name)?)?;
    let reservation = lab.reserve()?;
    Ok((lab, reservation))
}

/// Labs for drills: one at a time, kept as long as the next drill wants the same design.
struct Labs {
    own: Option<OwnLab>,
    given: Option<(Lab, Option<Reservation>)>,
    yes: bool,
}

/// A lab that was brought up for drills.
struct OwnLab {
    lab: Lab,
    /// For which file and which size of disks.
    file: PathBuf,
    disk_mb: Option<u32>,
    _reservation: Reservation,
}

impl Labs {
    async fn lab_for(&mut self, task: &Task) -> anyhow::Result<Lab> {
        let Task { loaded, scenario } = task;
        if let Some((lab, _)) = &self.given {
            return Ok(lab.clone());
        }
        let (file, disk_mb) = (&loaded.file, scenario.disk_mb);
        if let Some(own) = self.own.as_ref().filter(|own| (&own.file, own.disk_mb) == (file, disk_mb)) {
            return Ok(own.lab.clone());
        }
        self.down().await?;
        let lab = Lab::named(name_for(loaded)?)?;
        let _reservation = lab.reserve_place()?;
        self.own = Some(OwnLab { lab: lab.clone(), file: file.clone(), disk_mb, _reservation });
        bring_up(&lab, file, disk_mb, self.yes)?;
        Ok(lab)
    }

    /// Takes down the lab that was brought up here, if any.
    async fn down(&mut self) -> anyhow::Result<()> {
        if let Some(own) = self.own.take() {
            own.lab.down().await?;
        }
        Ok(())
    }
}

fn name_for(loaded: &Loaded) -> anyhow::Result<LabName> {
    let folder = LabName::of_folder(&loaded.folder)?;
    let name: String = format!("drill-{folder}").chars().take(LabName::LENGTH_MAX).collect();
    Ok(LabName::new(name)?)
}

/// `triad lab up`, in a process of its own: it watches for signals as long as it runs.
fn bring_up(lab: &Lab, file: &Path, disk_mb: Option<u32>, yes: bool) -> anyhow::Result<()> {
    let executable = std::env::current_exe().context("cannot find this program's own file")?;
    let mut command = Command::new(executable);
    command.args(["lab", "up", "--name", lab.name().as_str()]).args(yes.then_some("--yes")).arg(file);
    if let Some(megabytes) = disk_mb {
        command.args(["--disk-mb", &megabytes.to_string()]);
    }
    let status = command.stdout(Stdio::null()).status().context("cannot run `triad lab up`")?;
    if !status.success() {
        bail!("lab {} did not come up", lab.name());
    }
    Ok(())
}

/// How a drill goes, on standard error: on a terminal a live line, and one that stays at its end.
struct Board {
    name: String,
    spinner: RefCell<ProgressBar>,
}

impl Board {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), spinner: RefCell::new(print::spinner()) }
    }

    fn show(&self, progress: &Progress) {
        let Progress { at_ms, succeeded, failed, doing } = progress;
        let seconds = *at_ms as f64 / 1_000.0;
        let message = format!("{}: {seconds:.1} s, {succeeded} answered, {failed} failed; {doing}", self.name);
        self.spinner.borrow().set_message(message);
    }

    fn done(&self, report: &Report) {
        self.spinner.borrow().finish_and_clear();
        let Report { name, measures, verdict, .. } = report;
        let (requests, failed, gap_s) = (measures.requests, measures.failed, measures.gap_ms as f64 / 1_000.0);
        eprintln!("  {:<6}  {name}: {failed} of {requests} failed, longest gap {gap_s:.2} s", verdict.as_str());
    }
}

/// What is printed of `reports`: each in full, and a table if there are several.
fn text(reports: &[Report]) -> String {
    let mut text = reports.iter().map(triad_drill::details).collect::<Vec<_>>().join("\n");
    if reports.len() > 1 {
        text.push('\n');
        text.push_str(&triad_drill::summary(reports));
        text.push('\n');
        text.push_str(&triad_drill::prediction_table(reports));
        text.push_str(&failovers(reports));
    }
    text
}

/// What failovers cost, if there were any to be had.
fn failovers(reports: &[Report]) -> String {
    let table = triad_drill::failovers(reports);
    if table.is_empty() { table } else { format!("\n{table}") }
}

/// What is printed of scenarios that were run again and again.
fn runs(reports: &[Report]) -> String {
    let broken = reports.iter().filter(|report| !report.verdict.is_good());
    let mut text: String = broken.map(|report| triad_drill::details(report) + "\n").collect();
    text.push_str(&triad_drill::repeats(reports));
    text + &failovers(reports)
}
