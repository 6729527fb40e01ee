//! Plays many scenarios, or one step by step; `--help` says how.

/// The models take the engine apart, so there is nothing to play.
#[cfg(feature = "loom")]
fn main() {}

#[cfg(not(feature = "loom"))]
fn main() -> Result<std::process::ExitCode, lexopt::Error> {
    simulate::main()
}

#[cfg(not(feature = "loom"))]
mod simulate {
    use std::collections::BTreeMap;
    use std::num::NonZero;
    use std::process::ExitCode;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::sync::{Mutex, MutexGuard, PoisonError};
    use std::thread;
    use std::time::{Duration, Instant};

    use indicatif::{ProgressBar, ProgressStyle};
    use lexopt::prelude::*;
    use pool_testkit::simulation::{replay, run, smallest};

    const USAGE: &str = "\
Plays scenarios of everything that may happen to a pool, and checks it after every step.
  simulate [OPTIONS]
    --seeds N   plays N scenarios (default 1000)
    --from S    beginning with this seed (default 0)
    --keep-on   goes on after a scenario that fails
    --seed S    plays this one, and tells every step";

    /// A scenario takes milliseconds.
    const PATIENCE: Duration = Duration::from_mins(1);

    struct Args {
        seeds: u64,
        from: u64,
        keep_on: bool,
        one: Option<u64>,
        help: bool,
    }

    impl Args {
        fn parse() -> Result<Self, lexopt::Error> {
            let mut args = Self { seeds: 1000, from: 0, keep_on: false, one: None, help: false };
            let mut parser = lexopt::Parser::from_env();
            while let Some(argument) = parser.next()? {
                let Long(name) = argument else { return Err(argument.unexpected()) };
                let name = name.to_owned();
                args.option(&name, &mut parser)?;
            }
            Ok(args)
        }

        fn option(&mut self, name: &str, parser: &mut lexopt::Parser) -> Result<(), lexopt::Error> {
            match name {
                "keep-on" => self.keep_on = true,
                "help" => self.help = true,
                "seeds" => self.seeds = number(parser)?,
                "from" => self.from = number(parser)?,
                "seed" => self.one = Some(number(parser)?),
                other => return Err(lexopt::Error::UnexpectedOption(format!("--{other}"))),
            }
            Ok(())
        }
    }

    fn number(parser: &mut lexopt::Parser) -> Result<u64, lexopt::Error> {
        parser.value()?.parse()
    }

    pub(super) fn main() -> Result<ExitCode, lexopt::Error> {
        let args = Args::parse()?;
        if args.help {
            println!("{USAGE}");
            return Ok(ExitCode::SUCCESS);
        }
        // The backend panics on purpose, and what a failed check panics with is told at the end.
        std::panic::set_hook(Box::new(|_| {}));
        Ok(args.one.map_or_else(|| play_all(&args), play_one))
    }

    fn play_one(seed: u64) -> ExitCode {
        match replay(seed, |line| println!("{line}")) {
            Ok(()) => {
                println!("\nseed {seed} passed");
                ExitCode::SUCCESS
            }
            Err(problem) => {
                println!("\nseed {seed} failed {problem}");
                ExitCode::FAILURE
            }
        }
    }

    fn play_all(args: &Args) -> ExitCode {
        let bar = ProgressBar::new(args.seeds);
        let style = ProgressStyle::with_template("{wide_bar} {pos} of {len} seeds, {per_sec}, {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let game = Game {
            next: AtomicU64::new(args.from),
            end: args.from.saturating_add(args.seeds),
            keep_on: args.keep_on,
            bar,
            failures: Mutex::default(),
            under_way: Mutex::default(),
            stop: AtomicBool::new(false),
        };
        let players = thread::available_parallelism().map_or(1, NonZero::get);
        thread::scope(|scope| {
            let threads: Vec<_> = (0..players).map(|_| scope.spawn(|| game.play())).collect();
            game.watch(|| threads.iter().all(thread::ScopedJoinHandle::is_finished));
        });
        game.report()
    }

    /// Seeds that several threads play.
    struct Game {
        next: AtomicU64,
        end: u64,
        keep_on: bool,
        bar: ProgressBar,
        failures: Mutex<BTreeMap<u64, String>>,
        /// Since when.
        under_way: Mutex<BTreeMap<u64, Instant>>,
        stop: AtomicBool,
    }

    fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }

    impl Game {
        fn play(&self) {
            while !self.stop.load(Ordering::Relaxed) {
                let seed = self.next.fetch_add(1, Ordering::Relaxed);
                if seed >= self.end {
                    return;
                }
                lock(&self.under_way).insert(seed, Instant::now());
                if let Err(problem) = run(seed) {
                    self.bar.suspend(|| println!("seed {seed} failed {problem}"));
                    self.stop.store(!self.keep_on, Ordering::Relaxed);
                    lock(&self.failures).insert(seed, problem);
                }
                lock(&self.under_way).remove(&seed);
                self.bar.inc(1);
            }
        }

        /// Ends everything if a scenario does not end. No clock in it stands still: it has found a loop.
        fn watch(&self, is_over: impl Fn() -> bool) {
            while !is_over() {
                thread::sleep(Duration::from_millis(20));
                let late =
                    lock(&self.under_way).iter().find(|(_, since)| since.elapsed() > PATIENCE).map(|(seed, _)| *seed);
                if let Some(seed) = late {
                    self.bar.finish_and_clear();
                    println!("seed {seed} does not end within {PATIENCE:?}");
                    std::process::exit(1);
                }
            }
        }

        fn report(&self) -> ExitCode {
            let played = self.bar.position();
            self.bar.finish_and_clear();
            let failures = lock(&self.failures);
            if let Some(seed) = failures.keys().next() {
                println!("\nThe smallest scenario that fails, from seed {seed}:\n{}\n", smallest(*seed));
            }
            println!("{} passed, {} failed", played - failures.len() as u64, failures.len());
            if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
    }
}
