//! What is on disk after writes, tears and crashes.

use super::*;

fn saved(generation: u64) -> Saved {
    Saved {
        served: Served {
            generation,
            ..Served::default()
        },
        keys: BTreeMap::new(),
    }
}

fn scratch(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("weft-disk-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&dir);
    dir
}

fn loaded(disk: &mut Disk) -> Option<u64> {
    let (saved, _) = disk.load().expect("readable");
    saved.map(|saved| saved.served.generation)
}

#[test]
fn what_was_saved_last_is_loaded_and_two_generations_are_kept_with_one_on_trial() {
    let dir = scratch("kept");
    let mut disk = Disk::open(&dir).expect("opened");
    assert_eq!(loaded(&mut disk), None);
    for generation in 1..=4 {
        disk.save(&saved(generation)).expect("saved");
    }
    assert_eq!(loaded(&mut disk), Some(4));
    let mut kept = numbers(&dir).expect("listed");
    kept.sort_unstable();
    assert_eq!(kept, [1, 3, 4]);
    fs::remove_dir_all(&dir).expect("removed");
}

#[test]
fn a_torn_generation_gives_way_to_the_one_before_and_is_never_written_over() {
    let dir = scratch("torn");
    let mut disk = Disk::open(&dir).expect("opened");
    disk.save(&saved(1)).expect("saved");
    disk.save(&saved(2)).expect("saved");
    for part in ["snapshot", "keys", "manifest"] {
        let path = disk.path(part, 2);
        let whole = fs::read(&path).expect("read");
        fs::write(&path, &whole[..whole.len() / 2]).expect("torn");
        assert_eq!(loaded(&mut disk), Some(1), "{part}");
        fs::write(&path, whole).expect("mended");
    }
    assert_eq!(loaded(&mut disk), Some(2));
    fs::remove_dir_all(&dir).expect("removed");
}

#[test]
fn a_generation_that_crashed_three_times_gives_way_to_one_before_it() {
    let dir = scratch("crashed");
    let mut disk = Disk::open(&dir).expect("opened");
    for generation in 1..=3 {
        disk.save(&saved(generation)).expect("saved");
    }
    drop(disk);
    for expected in [3, 3, 2, 1, 3] {
        let mut disk = Disk::open(&dir).expect("opened");
        let (saved, fell_back) = disk.load().expect("readable");
        assert_eq!(saved.expect("one").served.generation, expected);
        let why = fell_back.map(|fell_back| fell_back.why);
        assert_eq!(why, matches!(expected, 1 | 2).then_some("crashed"));
    }
    fs::remove_dir_all(&dir).expect("removed");
}

#[test]
fn a_directory_has_one_writer() {
    let dir = scratch("lock");
    let first = Disk::open(&dir).expect("opened");
    assert_eq!(
        Disk::open(&dir).expect_err("held").kind(),
        io::ErrorKind::ResourceBusy
    );
    drop(first);
    Disk::open(&dir).expect("free again");
    fs::remove_dir_all(&dir).expect("removed");
}
