#![no_main]

use data_attribution_fuzz::format::clustered::Control;
use data_attribution_fuzz::format::index;
use libfuzzer_sys::fuzz_target;

// The salt is the right one: guessing it would say nothing of the reader.
fuzz_target!(|bytes: &[u8]| {
    let (head, _) = index(false);
    let mut bytes = bytes.to_vec();
    if let Some(salt) = bytes.get_mut(16..32) {
        salt.copy_from_slice(&head.salt);
    }
    if let Ok(control) = Control::parse("control", &bytes, head) {
        let again = control.encode(&head.plan, &head.salt);
        assert_eq!(again.expect("the sample that was read"), bytes);
    }
});
