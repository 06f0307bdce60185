//! The backbone kernels on the GPU against their CPU twins, at odd shapes and in all families, and whole passes against
//! Burn; natively, on whatever Vulkan adapter there is.
//!
//! One test function, because a process has one GPU device. Without any adapter it says that it skips;
//! scripts/test installs a software one.

mod arithmetic;
mod kernels;
mod networks;
mod place;

use data_attribution::backbone::recorded::choose::{compare_loads, compare_sums};
use data_attribution::device::GpuDevice;

#[test]
fn kernels_equal_their_cpu_twins_and_passes_equal_burn() {
    let gpu = match pollster::block_on(GpuDevice::open()) {
        Ok(gpu) => gpu,
        Err(error) => {
            println!("SKIPPED: {error}");
            return;
        }
    };
    let start = std::time::Instant::now();
    let family = pollster::block_on(gpu.family()).unwrap();
    let elapsed = start.elapsed();
    println!("{}: {family:?}, chosen in {elapsed:.1?}", gpu.description());
    match gpu.has_subgroups() {
        true => {
            let sums = pollster::block_on(compare_sums(&gpu)).unwrap();
            let [by_memory, by_subgroups] = sums.expect("sums by subgroups are those by memory");
            println!("sums: {by_memory:.2} ms by memory, {by_subgroups:.2} ms by subgroups");
            let loads = pollster::block_on(compare_loads(&gpu)).unwrap();
            let [loaded, turned] = loads.expect("what is handed around is what is loaded");
            println!("loads: {loaded:.2} ms of four, {turned:.2} ms of one that is handed around");
        }
        false => println!("SKIPPED: the adapter has no subgroups"),
    }
    assert_eq!(pollster::block_on(gpu.family()).unwrap(), family);
    kernels::linear_layers_and_their_epilogues(&gpu);
    kernels::activations_are_exact_to_a_millionth(&gpu);
    kernels::convolutions_read_their_windows_in_place(&gpu);
    kernels::attention_at_odd_shapes(&gpu);
    kernels::norms_tokens_and_pools(&gpu);
    kernels::impossible_shapes_are_refused(&gpu);
    arithmetic::what_is_measured_is_the_same(&gpu);
    arithmetic::linear_layers_of_inputs_in_bytes(&gpu);
    arithmetic::of_what_is_not_finite_nothing_finite_comes(&gpu);
    arithmetic::norms_that_end_in_bytes(&gpu);
    arithmetic::linear_layers_of_products_in_halves(&gpu);
    arithmetic::passes_are_near_those_in_f32(&gpu);
    networks::passes_equal_burn(&gpu);
    networks::what_was_loaded_is_freed(&gpu);
}
