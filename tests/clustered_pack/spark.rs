//! The script that packs with Spark, in local mode: the bytes are those of the single run.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use super::{assert_same, files, workplace};

/// What PySpark 4 wants.
const JAVA: u32 = 17;

/// Two workers, and no more shuffling than the few rows need.
const SUBMIT: &str = "--master local[2] --conf spark.ui.enabled=false \
                      --conf spark.sql.shuffle.partitions=2 pyspark-shell";

/// The Python that Spark uses.
fn python() -> String {
    std::env::var("PYSPARK_PYTHON").unwrap_or_else(|_| "python3".into())
}

/// Without the packages that other scripts bring for another Python.
fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_remove("PYTHONPATH");
    command
}

/// The number before the first dot of what `java -version` tells.
fn java_version() -> Option<u32> {
    let told = Command::new("java").arg("-version").output().ok()?.stderr;
    let told = String::from_utf8(told).ok()?;
    told.split('"').nth(1)?.split('.').next()?.parse().ok()
}

fn run(program: &str, place: &Path, arguments: &[&str]) -> Output {
    let run = command(program)
        .args(arguments)
        .current_dir(place)
        .env("PYSPARK_PYTHON", python())
        .env("SPARK_LOCAL_IP", "127.0.0.1")
        .env("PYSPARK_SUBMIT_ARGS", SUBMIT)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{program} {arguments:?}: {error}");
    run
}

#[test]
fn spark_makes_what_pack_makes() {
    let needed = "import pyspark, pandas, pyarrow, numpy";
    let probe = command(&python()).args(["-c", needed]).output();
    let there = probe.is_ok_and(|run| run.status.success());
    if !there || java_version().is_none_or(|version| version < JAVA) {
        println!(
            "SKIPPED spark_makes_what_pack_makes: no java from {JAVA} on, or no pyspark, pandas, pyarrow, numpy"
        );
        return;
    }
    let place = workplace("spark");
    let at = |path: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        path.display().to_string()
    };
    let tool = env!("CARGO_BIN_EXE_data-attribution");
    run(
        &python(),
        &place,
        &[&at("tests/spark/make_embeddings.py"), "."],
    );
    let pack = "pack --features clip --model model --title Rows --structure clustered -o one";
    let pack: Vec<&str> = pack.split(' ').collect();
    run(tool, &place, &pack);
    let script = at("scripts/pack_with_spark.py");
    let arguments = "--embeddings embeddings --name url --caption caption --link url --model model \
                     --title Rows --parts 3 --work work --out two --tool";
    let mut command = vec![&*script];
    command.extend(arguments.split_whitespace().chain([tool]));
    let out = run(&python(), &place, &command).stdout;
    let out = String::from_utf8_lossy(&out);
    assert!(out.contains("two: 2499 images, 1 left out"), "{out}");
    assert_same(&place.join("one"), &place.join("two"));
    assert!(files(&place.join("one")).len() > 6);
    fs::remove_dir_all(&place).unwrap();
}
