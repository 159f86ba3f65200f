//! The store on a real token, with faults put between the two.

use std::path::{Path, PathBuf};

use tgp_authority::{OperatorSecret, RecordKind};
use tgp_token::softhsm::{self, NewToken};
use tgp_token::{KeyOps, KeyRef, Role, Token, TokenConfig, TokenError, TokenSession};
use uuid::Uuid;

use super::{Enrolment, State, StateError, StateStore, StateToken};
use crate::VaultError;
use crate::failure::Failure;

/// A test in a process of its own: PKCS#11 is initialised once per process.
macro_rules! alone {
    ($(fn $name:ident($scene:ident) $body:block)+) => { $(
        #[test]
        fn $name() {
            softhsm::own_process(concat!("state::tests::", stringify!($name)), |dir| {
                let $scene = &mut Scene::new(dir);
                $body
            });
        }
    )+ };
}

struct Scene {
    path: PathBuf,
    key: KeyRef,
    token: Faulty,
    _token: Token,
}

/// The token, which can be made to refuse versions.
struct Faulty {
    session: TokenSession,
    refuses_versions: bool,
}

impl StateToken for Faulty {
    fn mac(&mut self, key: &KeyRef, data: &[u8]) -> Result<[u8; 32], TokenError> {
        self.session.mac(key, data)
    }
    fn version(&mut self) -> Result<u64, TokenError> {
        self.session.version()
    }
    fn set_version(&mut self, version: u64) -> Result<(), TokenError> {
        match self.refuses_versions {
            true => Err(TokenError::Away { why: "made to".into() }),
            false => self.session.set_version(version),
        }
    }
}

impl Scene {
    fn new(dir: &Path) -> Self {
        let module = softhsm::module().expect("softhsm2 is installed");
        let start_lock = dir.join("start.lock");
        let (label, pin) = ("tgp-test", "12345678");
        let new = NewToken {
            module: module.clone(),
            label: label.into(),
            so_pin: "so-pin-1".into(),
            pin: pin.into(),
            start_lock: start_lock.clone(),
        };
        softhsm::dangerous_init_token(&new).expect("a new token");
        let config = TokenConfig { module, label: label.into(), pin: pin.into(), start_lock };
        let token = Token::open(&config).expect("opens");
        token.dangerous_provision().expect("keys");
        let mut session = token.session().expect("a session");
        let key = session.find(Role::StateMac, 1).expect("a key");
        let token = (token, Faulty { session, refuses_versions: false });
        Scene { path: dir.join("state"), key, token: token.1, _token: token.0 }
    }

    fn create(&mut self) -> StateStore {
        StateStore::create(self.path.clone(), self.key.clone(), &mut self.token, first()).expect("made")
    }

    fn open(&mut self) -> Result<StateStore, StateError> {
        match StateStore::open(self.path.clone(), self.key.clone(), &mut self.token) {
            Err(VaultError::State(error)) => Err(error),
            other => Ok(other.expect("opens")),
        }
    }

    fn raise(&mut self, store: &StateStore, horizon: i64) -> Result<u64, Failure> {
        store.commit(&mut self.token, 1000, |act| {
            act.raise_horizon(horizon);
            Ok(())
        })?;
        Ok(store.current().state.version)
    }

    fn file(&self) -> Vec<u8> {
        std::fs::read(&self.path).expect("a file")
    }

    fn put(&self, octets: &[u8]) {
        std::fs::write(&self.path, octets).expect("written");
    }

    /// A file whose last line the token does not hold, and where that line begins.
    fn with_an_unsettled_line(&mut self) -> (Vec<u8>, usize) {
        let store = self.create();
        self.raise(&store, 10).expect("done");
        let settled = self.file().len();
        self.token.refuses_versions = true;
        self.raise(&store, 20).expect_err("the token refuses");
        self.token.refuses_versions = false;
        (self.file(), settled)
    }
}

fn used() -> Enrolment {
    Enrolment { invitation: [1; 32], identity_key: [2; 32], tls_key: [3; 32], first_use: 1000, forget_after: 1_000_000 }
}

fn thread_cpu_us() -> i64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec * 1_000_000 + time.tv_nsec / 1000
}

fn first() -> State {
    let owner = OperatorSecret::generate().public();
    let trust_domain = "tgp.example".parse().expect("a name");
    let roster = crate::first_roster(trust_domain, "https://gw.tgp.example", [(Uuid::from_u128(1), owner)]);
    State {
        version: 1,
        deployment: "d".into(),
        vault: "v".into(),
        roster,
        ca_pem: String::new(),
        server_chain_pem: String::new(),
        pins: Vec::new(),
        forgotten_until: 0,
        horizon: 0,
        mark: Default::default(),
    }
}

alone! {
    fn an_act_that_the_token_does_not_remember_is_neither_in_force_nor_followed_by_another(scene) {
        let store = scene.create();
        assert_eq!(scene.raise(&store, 10).expect("done"), 2);
        scene.token.refuses_versions = true;
        assert!(matches!(scene.raise(&store, 20), Err(Failure::Token(_))));
        assert_eq!((store.current().state.version, store.current().state.horizon), (2, 10));
        // No other act is so much as decided on.
        let mut decided = false;
        let other = store.commit(&mut scene.token, 1000, |_| {
            decided = true;
            Ok(())
        });
        assert!(other.is_err() && !decided);
        let length = scene.file().len();
        assert!(scene.raise(&store, 30).is_err());
        assert_eq!(scene.file().len(), length, "a line was written behind one that is not settled");
        // The token is back: first what was begun, then what is new.
        scene.token.refuses_versions = false;
        store.commit(&mut scene.token, 1000, |_| {
            decided = true;
            Ok(())
        }).expect("settled");
        assert!(decided);
        assert_eq!((store.current().state.version, store.current().state.horizon), (3, 20));
        assert_eq!(scene.raise(&store, 40).expect("done"), 4);
        drop(store);
        let store = scene.open().expect("opens");
        assert_eq!((store.current().state.version, store.current().state.horizon), (4, 40));
    }

    fn an_act_that_the_token_does_not_remember_is_settled_without_another(scene) {
        let store = scene.create();
        scene.token.refuses_versions = true;
        scene.raise(&store, 20).expect_err("the token refuses");
        store.settle(&mut scene.token).expect_err("still");
        scene.token.refuses_versions = false;
        store.settle(&mut scene.token).expect("settled");
        assert_eq!(store.current().state.horizon, 20);
        store.settle(&mut scene.token).expect("nothing to do");
    }

    fn a_line_that_a_crash_cut_short_anywhere_is_dropped_and_the_next_act_follows(scene) {
        let (whole, settled) = scene.with_an_unsettled_line();
        for cut in settled..whole.len() {
            scene.put(&whole[..cut]);
            let store = scene.open().unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
            assert_eq!(store.current().state.horizon, 10, "cut at {cut}");
            assert_eq!(scene.file().len(), settled, "the rest of the line is still there");
        }
        // Octets of it that never reached the disk.
        for place in settled..whole.len() {
            let mut edited = whole.clone();
            edited[place] = 0;
            scene.put(&edited);
            let store = scene.open().unwrap_or_else(|error| panic!("octet {place}: {error}"));
            assert_eq!(store.current().state.horizon, 10, "octet {place}");
        }
        scene.put(&whole[..settled + 20]);
        let store = scene.open().expect("opens");
        assert_eq!(scene.raise(&store, 30).expect("done"), 3);
        drop(store);
        assert_eq!(scene.open().expect("opens").current().state.horizon, 30);
    }

    fn a_whole_line_that_the_token_does_not_hold_yet_is_taken(scene) {
        let (whole, _) = scene.with_an_unsettled_line();
        scene.put(&whole);
        assert_eq!(scene.open().expect("opens").current().state.horizon, 20);
        assert_eq!(scene.token.version().expect("a version"), 3);
    }

    fn a_file_that_lost_what_was_answered_for_is_refused_wherever_it_is_cut(scene) {
        let store = scene.create();
        for horizon in [10, 20, 30] {
            scene.raise(&store, horizon).expect("done");
        }
        let whole = scene.file();
        for cut in 0..whole.len() {
            scene.put(&whole[..cut]);
            assert!(scene.open().is_err(), "cut at {cut}");
        }
        scene.put(&whole);
        scene.open().expect("the whole opens");
    }

    fn an_edit_of_any_octet_is_refused(scene) {
        let store = scene.create();
        for horizon in [10, 20] {
            scene.raise(&store, horizon).expect("done");
        }
        let whole = scene.file();
        for place in 0..whole.len() {
            let mut edited = whole.clone();
            edited[place] ^= 1;
            scene.put(&edited);
            assert!(scene.open().is_err(), "octet {place}");
        }
        let lines: Vec<&[u8]> = whole.split_inclusive(|octet| *octet == b'\n').collect();
        let cases: [(&str, Vec<&[u8]>); 6] = [
            ("an act left out", vec![lines[0], lines[2]]),
            ("two acts exchanged", vec![lines[0], lines[2], lines[1]]),
            ("an act done twice", vec![lines[0], lines[1], lines[1], lines[2]]),
            ("the snapshot twice", vec![lines[0], lines[0], lines[1], lines[2]]),
            ("no snapshot", vec![lines[1], lines[2]]),
            ("lines that are none before the last", vec![lines[0], lines[1], b"\n", lines[2]]),
        ];
        for (what, lines) in cases {
            scene.put(&lines.concat());
            assert!(scene.open().is_err(), "{what}");
        }
        // Two lines too many are not one that was torn; one is, and goes.
        scene.put(&[&whole[..], b"x\n", b"y\n"].concat());
        assert!(scene.open().is_err());
        scene.put(&[&whole[..], b"x\n"].concat());
        scene.open().expect("opens");
        assert_eq!(scene.file(), whole);
    }

    fn a_journal_that_outgrows_its_snapshot_becomes_a_new_one_and_nothing_is_lost(scene) {
        let store = scene.create();
        let (tenant, mut largest, mut shrank) = (Uuid::from_u128(7), 0, false);
        let id = |n: u32| Uuid::from_u128(n.into()).to_string();
        for act_n in 0..20_u32 {
            let before = scene.file().len();
            store.commit(&mut scene.token, 1000, |act| {
                (0..100).map(|n| act_n * 100 + n).try_for_each(|n| {
                    Ok(act.supersede(RecordKind::Grant, tenant, &id(n), n + 1)?)
                })
            }).expect("done");
            let after = scene.file().len();
            largest = largest.max(after);
            shrank |= after < before;
        }
        // All lines together would be longer: they were taken into a snapshot meanwhile.
        assert!(shrank && largest < 3 * 64 * 1024, "{largest}");
        drop(store);
        let store = scene.open().expect("opens");
        assert_eq!(store.current().state.version, 21);
        for n in 0..2000 {
            let floor = store.tables().floor(RecordKind::Grant, tenant, &id(n));
            assert_eq!(floor, n + 1);
        }
    }

    fn an_act_costs_the_same_with_a_hundred_agents_and_with_ten_thousand(scene) {
        const MANY: u128 = 10_000;
        let store = scene.create();
        let tenant = Uuid::from_u128(7);
        let grant = |n: u128| Uuid::from_u128(1 << 64 | n).to_string();
        let populate = |scene: &mut Scene, agents: std::ops::Range<u128>| {
            store.commit(&mut scene.token, 1000, |act| {
                agents.into_iter().try_for_each(|n| {
                    act.enrol(Uuid::from_u128(n), used());
                    Ok(act.supersede(RecordKind::Grant, tenant, &grant(n), 1)?)
                })
            }).expect("done");
        };
        let length = |scene: &Scene| std::fs::metadata(&scene.path).expect("a file").len();
        // One act as operators give them, and the octets that it wrote and the CPU that it took.
        let measure = |scene: &mut Scene, from: u128| {
            let (mut octets, mut rewritten, begun) = (0, 0, thread_cpu_us());
            let acts = 50;
            for n in from..from + acts {
                let before = length(scene);
                store.commit(&mut scene.token, 1000, |act| Ok(act.supersede(RecordKind::Grant, tenant, &grant(n), 1)?))
                    .expect("done");
                match length(scene).checked_sub(before) {
                    Some(grown) => octets = octets.max(grown),
                    None => rewritten += 1,
                }
            }
            let cpu = (thread_cpu_us() - begun) / i64::try_from(acts).expect("few");
            println!("{} agents: {octets} octets and {cpu} us of CPU an act", store.tables().enrolled.len());
            (octets, rewritten)
        };
        populate(scene, 0..100);
        let few = measure(scene, MANY);
        for begin in (100..MANY).step_by(1000) {
            populate(scene, begin..MANY.min(begin + 1000));
        }
        let many = measure(scene, MANY + 1000);
        // The version's digits may be one more.
        assert!(many.0 <= few.0 + 8 && few.0 < 400 && many.1 <= 1, "{few:?} {many:?}");
        drop(store);
        let store = scene.open().expect("opens");
        assert_eq!(store.tables().enrolled.len() as u128, MANY);
        assert!(store.tables().was_enrolled(Uuid::from_u128(MANY - 1)));
        assert_eq!(store.tables().floor(RecordKind::Grant, tenant, &grant(MANY + 1049)), 1);
    }

    fn a_crash_while_a_snapshot_is_written_leaves_the_old_file_or_the_new(scene) {
        let store = scene.create();
        scene.raise(&store, 10).expect("done");
        let old = scene.file();
        store.rewrite(&mut store.writer(), &mut scene.token).expect("rewritten");
        let new = scene.file();
        assert_ne!(old, new);
        drop(store);
        let beside = super::file::beside(&scene.path);
        for (what, in_place, begun) in [
            ("before it was begun", &old, None),
            ("while it was written", &old, Some(&new[..new.len() / 2])),
            ("before it was put in place", &old, Some(&new[..])),
            ("after it was put in place", &new, None),
        ] {
            scene.put(in_place);
            match begun {
                Some(octets) => std::fs::write(&beside, octets).expect("written"),
                None => drop(std::fs::remove_file(&beside)),
            }
            let store = scene.open().unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!((store.current().state.version, store.current().state.horizon), (2, 10), "{what}");
        }
        let store = scene.open().expect("opens");
        assert_eq!(scene.raise(&store, 20).expect("done"), 3);
        store.rewrite(&mut store.writer(), &mut scene.token).expect("what was left beside it is no hindrance");
        drop(store);
        assert_eq!(scene.open().expect("opens").current().state.horizon, 20);
    }

    fn an_act_that_cannot_be_written_is_not_done_and_the_next_one_heals_the_file(scene) {
        let store = scene.create();
        scene.raise(&store, 10).expect("done");
        let beside = super::file::beside(&scene.path);
        // Somebody exchanged the file, and nothing can be put in its place.
        std::fs::remove_file(&scene.path).expect("removed");
        std::fs::create_dir(&beside).expect("made");
        for _ in 0..2 {
            assert!(matches!(scene.raise(&store, 20), Err(Failure::Unavailable(_))));
        }
        assert_eq!((store.current().state.version, scene.token.version().expect("a version")), (2, 2));
        std::fs::remove_dir(&beside).expect("removed");
        assert_eq!(scene.raise(&store, 30).expect("done"), 3);
        // The same where it was only added to, or cut.
        for octets in [[&scene.file()[..], b"x\n"].concat(), scene.file()[..50].to_vec()] {
            scene.put(&octets);
            scene.raise(&store, store.current().state.horizon + 1).expect("done");
        }
        drop(store);
        assert_eq!(scene.open().expect("opens").current().state.horizon, 32);
    }
}
