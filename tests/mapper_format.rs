//! Heads and weight files of mappers that are damaged or hostile.
#![cfg(feature = "cli")]

use data_attribution::error::Error;
use data_attribution::format::FileRef;
use data_attribution::format::mapper::{
    MAPPER_FORMAT, MapperHead, MapperKind, MapperLayer, MapperRole, pair_identity,
};
use data_attribution::mapper::Mapper;
use data_attribution::source::memory::Memory;

/// The code of the error, which must contain `reason`.
#[track_caller]
fn code<T>(result: Result<T, Error>, reason: &str) -> &'static str {
    let error = result.err().expect(reason);
    assert!(error.to_string().contains(reason), "{reason:?}: {error}");
    error.code()
}

/// The synth side of an MLP 3 -> 4 -> 2 with the content of its weight file.
fn sample() -> (MapperHead, Vec<u8>) {
    let linear = |inputs, outputs, relu| MapperLayer::Linear {
        inputs,
        outputs,
        bias: true,
        relu,
    };
    let layers = vec![linear(3, 4, true), linear(4, 2, false)];
    let values = (0..4 * 3 + 4 + 2 * 4 + 2).map(|i| i as f32 * 0.25 - 2.0);
    let bytes: Vec<u8> = values.flat_map(f32::to_le_bytes).collect();
    let file = FileRef::of("weights", "bin", &bytes);
    let mut head = MapperHead {
        format: MAPPER_FORMAT.into(),
        version: 1,
        name: "m".into(),
        kind: MapperKind::Mlp,
        role: MapperRole::Synth,
        pair: pair_identity(MapperKind::Mlp, &layers, &file, &file),
        identity: String::new(),
        backbone: None,
        input: 3,
        output: 2,
        layers,
        file,
    };
    head.identity = head.computed_identity();
    (head, bytes)
}

fn parse(head: &MapperHead) -> Result<MapperHead, Error> {
    MapperHead::parse("m.json", &serde_json::to_vec(head).unwrap())
}

fn load(head: MapperHead, bytes: Vec<u8>) -> Result<Mapper, Error> {
    let mut memory = Memory::default();
    memory
        .files
        .insert(format!("folder/{}", head.file.file), bytes);
    pollster::block_on(Mapper::load(&memory, "folder/m.json", head, &|_, _| {}))
}

#[test]
fn a_good_head_survives_the_round_trip_in_the_documented_form() {
    let (head, _) = sample();
    assert_eq!(parse(&head).unwrap(), head);
    let text = serde_json::to_value(&head).unwrap();
    let layer = serde_json::json!(
        {"kind": "linear", "inputs": 3, "outputs": 4, "bias": true, "relu": true});
    assert_eq!(text["layers"][0], layer);
    assert_eq!(
        (&text["kind"], &text["role"]),
        (&"mlp".into(), &"synth".into())
    );
}

#[test]
fn heads_that_contradict_themselves_are_refused_whatever_their_identity() {
    type Break = fn(&mut MapperHead);
    fn layer(head: &mut MapperHead, i: usize, outputs: usize, relu: bool) {
        let inputs = head.layers[i].inputs();
        let bias = true;
        head.layers[i] = MapperLayer::Linear {
            inputs,
            outputs,
            bias,
            relu,
        };
    }
    let breaks: [(&str, Break); 19] = [
        ("input 0", |h| h.input = 0),
        ("output 2049", |h| h.output = 2049),
        ("layer 0 takes 3", |h| h.input = 5),
        ("the layers give", |h| h.output = 3),
        ("0 layers", |h| h.layers.clear()),
        ("9 layers", |h| h.layers = vec![h.layers[0].clone(); 9]),
        ("layer 0 takes 4", |h| h.layers.swap(0, 1)),
        ("layer 0 takes", |h| layer(h, 0, 0, true)),
        ("layer 0 takes", |h| layer(h, 0, 16385, true)),
        ("layer 0 takes", |h| layer(h, 0, usize::MAX, true)),
        ("not those of", |h| h.kind = MapperKind::Linear),
        ("not those of", |h| h.kind = MapperKind::Channel),
        ("not those of", |h| layer(h, 0, 4, false)),
        ("not those of", |h| layer(h, 1, 2, true)),
        ("do not take", |h| h.file.bytes -= 4),
        ("plain relative", |h| h.file.file = "../up".into()),
        ("limit", |h| h.file.bytes = u64::MAX),
        ("`pair`", |h| h.pair = "0".repeat(63)),
        ("name", |h| h.name.clear()),
    ];
    for (reason, damage) in breaks {
        let mut head = sample().0;
        damage(&mut head);
        head.identity = head.computed_identity();
        assert_eq!(code(parse(&head), reason), "format");
        assert_eq!(code(load(head, sample().1), reason), "format");
    }
    let mut renamed = sample().0;
    renamed.name = "other".into();
    assert_eq!(code(parse(&renamed), "identity"), "format");
    for text in [
        "",
        "[]",
        "{}",
        r#"{"format":"data-attribution-mapper","version":1}"#,
    ] {
        assert_eq!(
            code(MapperHead::parse("m", text.as_bytes()), "m: "),
            "format"
        );
    }
    let later = br#"{"format":"data-attribution-mapper","version":2,"layers":7}"#;
    assert_eq!(
        code(MapperHead::parse("m", later), "version 2"),
        "newer-version"
    );
}

#[test]
fn weight_files_are_verified_and_their_values_checked() {
    let (head, bytes) = sample();
    assert_eq!(
        code(load(head.clone(), bytes[4..].to_vec()), "bytes"),
        "integrity"
    );
    let mut flipped = bytes.clone();
    flipped[9] ^= 1;
    assert_eq!(code(load(head.clone(), flipped), "SHA-256"), "integrity");
    for value in [f32::NAN, f32::INFINITY] {
        let (mut head, mut bytes) = sample();
        let end = bytes.len() - 4;
        bytes[end..].copy_from_slice(&value.to_le_bytes());
        head.file = FileRef::of("weights", "bin", &bytes);
        head.identity = head.computed_identity();
        assert_eq!(code(load(head, bytes), "layer 1 has weights"), "format");
    }
    let mapper = load(head, bytes).unwrap();
    assert!(mapper.apply(&[]).unwrap().is_empty());
    assert_eq!(
        code(mapper.apply(&[0.0; 4]), "rows of 3"),
        "invalid-argument"
    );
    for value in [f32::NAN, f32::INFINITY, f32::MAX] {
        let rows = [0.0, 1.0, 2.0, 0.0, value, 0.0];
        assert_eq!(code(mapper.apply(&rows), "row 1"), "not-finite");
        let lenient = mapper.apply_rows(&rows).unwrap();
        assert!(lenient[..2].iter().all(|v| v.is_finite()));
        assert!(lenient[2..].iter().any(|v| !v.is_finite()));
    }
}
