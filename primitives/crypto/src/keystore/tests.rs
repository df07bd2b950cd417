//! What a keystore file protects against.

use super::*;
use crate::dev;
use proptest::prelude::*;
use std::os::unix::fs::PermissionsExt;

fn password(text: &str) -> Password {
    Password::new(text).unwrap()
}

fn sample() -> KeystoreFile {
    seal(&dev::seed("alice", "account"), &password("correct horse"), "account", &KdfParams::DEVELOPMENT).unwrap()
}

#[test]
fn a_sealed_seed_opens_with_its_password_only() {
    let file = sample();
    assert_eq!(file.role(), "account");
    let again = KeystoreFile::from_json(file.to_json().unwrap().as_bytes()).unwrap();
    assert_eq!(again, file);
    let seed = open(&again, &password("correct horse")).unwrap();
    assert_eq!(seed.expose(), dev::seed("alice", "account").expose());
    assert_eq!(*SigningKey::from_seed(&seed).unwrap().public(), again.public_key().unwrap());
    for wrong in ["correct horsf", "Correct horse", "correct horse ", "x"] {
        let refused = open(&again, &password(wrong)).unwrap_err();
        assert!(matches!(refused, KeystoreError::WrongPassword), "{refused}");
    }
}

#[test]
fn two_seals_of_one_seed_share_nothing_secret() {
    let (one, two) = (sample(), sample());
    assert_ne!(one.kdf.salt, two.kdf.salt);
    assert_ne!(one.cipher, two.cipher);
    assert_ne!(one.check, two.check);
    assert!(!one.to_json().unwrap().contains(&hex::encode(dev::seed("alice", "account").expose())));
}

/// Every leaf of the file, as a mutable string or number.
fn mutate(file: &KeystoreFile, leaf: usize, place: usize, change: u8) -> Option<KeystoreFile> {
    let mut value = serde_json::to_value(file).unwrap();
    let mut paths = Vec::new();
    collect_leaves(&value, &mut String::new(), &mut paths);
    let path = &paths[leaf % paths.len()];
    match value.pointer_mut(path).unwrap() {
        serde_json::Value::String(text) => {
            let mut bytes = text.clone().into_bytes();
            let place = place % bytes.len();
            // Stays within lower-case hex or letters, so that most mutants are still well-formed.
            bytes[place] = b"0123456789abcdef"[usize::from(change % 16)];
            *text = String::from_utf8(bytes).unwrap();
        }
        serde_json::Value::Number(number) => {
            *number = (number.as_u64().unwrap() ^ (1 << (change % 12))).into();
        }
        other => panic!("unexpected leaf {other}"),
    }
    let mutant: KeystoreFile = serde_json::from_value(value).unwrap();
    (mutant != *file).then_some(mutant)
}

fn collect_leaves(value: &serde_json::Value, path: &mut String, paths: &mut Vec<String>) {
    if let serde_json::Value::Object(fields) = value {
        for (name, field) in fields {
            let length = path.len();
            path.push('/');
            path.push_str(name);
            collect_leaves(field, path, paths);
            path.truncate(length);
        }
    } else {
        paths.push(path.clone());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Damage anywhere is told as damage, never as a wrong password, and never opens.
    #[test]
    fn damage_is_told_apart_from_a_wrong_password(leaf: usize, place: usize, change: u8, right: bool) {
        let file = sample();
        if let Some(mutant) = mutate(&file, leaf, place, change) {
            let tried = password(if right { "correct horse" } else { "wrong" });
            let refused = open(&mutant, &tried).unwrap_err();
            prop_assert!(!matches!(refused, KeystoreError::WrongPassword), "{}", refused);
        }
    }

    /// An attacker who recomputes the checksum still never gets a changed file opened.
    #[test]
    fn a_changed_file_with_a_fresh_checksum_never_opens(leaf: usize, place: usize, change: u8) {
        let file = sample();
        if let Some(mut mutant) = mutate(&file, leaf, place, change) {
            mutant.checksum = hex::encode(mutant.compute_checksum());
            let refused = open(&mutant, &password("correct horse"));
            // Changing the stored checksum alone and computing it again restores the file.
            prop_assert!(refused.is_err() || mutant == file);
        }
    }

    /// A file cut off anywhere is malformed, not a panic.
    #[test]
    fn a_truncated_file_is_malformed(cut: usize) {
        let text = sample().to_json().unwrap();
        let cut = cut % (text.len() - 2);
        let refused = KeystoreFile::from_json(&text.as_bytes()[..cut]).unwrap_err();
        prop_assert!(matches!(refused, KeystoreError::Malformed { .. }), "{}", refused);
    }
}

#[test]
fn a_changed_header_with_the_right_password_is_tampering() {
    let mut file = sample();
    file.role = "consensus".to_owned();
    file.checksum = hex::encode(file.compute_checksum());
    let refused = open(&file, &password("correct horse")).unwrap_err();
    assert!(matches!(refused, KeystoreError::Tampered { what: "authentication tag" }), "{refused}");
}

#[test]
fn costs_out_of_bounds_are_refused_before_any_memory_is_taken() {
    let mut file = sample();
    for (memory_kib, passes, lanes) in [(u32::MAX, 1, 1), (0, 1, 1), (8_192, 17, 1), (8_192, 0, 1), (8_192, 1, 9)] {
        (file.kdf.memory_kib, file.kdf.passes, file.kdf.lanes) = (memory_kib, passes, lanes);
        file.checksum = hex::encode(file.compute_checksum());
        let refused = open(&file, &password("correct horse")).unwrap_err();
        assert!(matches!(refused, KeystoreError::KdfOutOfBounds { .. }), "{refused}");
        assert!(KdfParams::new(memory_kib, passes, lanes).is_err());
    }
    assert!(KdfParams::new(65_536, 3, 1).is_ok_and(|params| params == KdfParams::default()));
}

#[test]
fn other_files_and_versions_are_named() {
    let refused = KeystoreFile::from_json(br#"{"version":2,"something":"new"}"#).unwrap_err();
    assert!(matches!(refused, KeystoreError::Version { found: 2 }), "{refused}");
    for text in [&b"hello"[..], b"{}", b"[1,2]", br#"{"version":1}"#, b"\xff\xfe"] {
        let refused = KeystoreFile::from_json(text).unwrap_err();
        assert!(matches!(refused, KeystoreError::Malformed { .. }), "{refused}");
    }
    let unknown = sample().to_json().unwrap().replacen("\"version\"", "\"extra\": 1, \"version\"", 1);
    assert!(KeystoreFile::from_json(unknown.as_bytes()).unwrap_err().to_string().contains("extra"));
    for role in ["", "Account", "a b", "../x", &"a".repeat(33)] {
        let refused = seal(&dev::seed("a", "b"), &password("p"), role, &KdfParams::DEVELOPMENT).unwrap_err();
        assert!(matches!(refused, KeystoreError::Role { .. }), "{refused}");
    }
    assert!(matches!(Password::new("").unwrap_err(), KeystoreError::PasswordLength { found: 0 }));
    assert!(Password::new("x".repeat(1_025)).is_err());
}

#[test]
fn a_file_is_private_complete_and_never_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("alice.json");
    let file = sample();
    file.write_new(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(KeystoreFile::read(&path).unwrap(), file);

    let refused = sample().write_new(&path).unwrap_err();
    assert!(matches!(refused, KeystoreError::Exists { .. }), "{refused}");
    assert_eq!(KeystoreFile::read(&path).unwrap(), file, "the first key is untouched");

    let link = directory.path().join("link.json");
    std::os::unix::fs::symlink(directory.path().join("nowhere"), &link).unwrap();
    assert!(matches!(sample().write_new(&link), Err(KeystoreError::Exists { .. })), "a dangling link is not followed");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2, "no temporary file stays behind");

    let missing = directory.path().join("none").join("alice.json");
    assert!(matches!(file.write_new(&missing), Err(KeystoreError::Io { .. })));
    assert!(matches!(KeystoreFile::read(&missing), Err(KeystoreError::Io { .. })));
}

#[test]
fn of_writers_that_race_exactly_one_wins() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key.json");
    let files: Vec<KeystoreFile> = (0..4).map(|_| sample()).collect();
    let results: Vec<bool> = std::thread::scope(|scope| {
        let writers: Vec<_> = files.iter().map(|file| scope.spawn(|| file.write_new(&path).is_ok())).collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    assert_eq!(results.iter().filter(|won| **won).count(), 1);
    let winner = results.iter().position(|won| *won).unwrap();
    assert_eq!(KeystoreFile::read(&path).unwrap(), files[winner]);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn a_huge_file_is_not_read_into_memory() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("huge.json");
    std::fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    assert!(matches!(KeystoreFile::read(&path), Err(KeystoreError::FileTooLarge { .. })));
}

/// A file written by `tests/vectors/keystore.py` with another language and other libraries: the
/// format is what its description says, and files of this version open for ever.
#[test]
fn a_file_of_an_independent_writer_opens() {
    let file = KeystoreFile::from_json(include_bytes!("../../../../tests/vectors/keystore-v1.json")).unwrap();
    let seed = open(&file, &password("pässword 1")).unwrap();
    assert_eq!(*seed.expose(), core::array::from_fn::<u8, 32, _>(|index| u8::try_from(index).unwrap()));
    assert!(matches!(open(&file, &password("password 1")), Err(KeystoreError::WrongPassword)));
}
