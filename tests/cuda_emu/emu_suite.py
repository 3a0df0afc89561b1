"""What of tests/python runs on the emulated device, and what does not, and why.

The device is some hundred times slower than the CPU, for which the sizes of most tests were made.
"""

# File -> how many of its tests launch kernels, at least. The others of the file run too: what they
# expect of arguments and errors must not depend on the device.
FLOORS = {
    "test_api.py": 80,
    "test_constraints.py": 20,
    "test_dynamics.py": 30,
    "test_callbacks.py": 25,
    "test_objectives.py": 15,
    "test_bad_input.py": 45,
    "test_admm_relu.py": 10,
}

TOO_LONG = "too long on the emulated device"
NOT_SMALL = "admm_relu until it converges: too long; small problems are in test_backend.py"
INTERPRETER = "runs in another interpreter, where device=None is the CPU"
FORKS = "forks, which no CUDA context survives"
TIMED = "depends on time, signals, memory or threads"
CPU_ONLY = "what it tests runs on the CPU only"
NO_SOLVER = "about files, words and pictures, not about what a device computes"
HYBRID = "the hybrid dynamics, whose small generations stay on the host"

# File, test or fixture -> reason.
LEFT_OUT = {
    "test_admm_beta.py": NOT_SMALL,
    "test_admm_budget.py": CPU_ONLY,
    "test_admm_docs.py": NOT_SMALL,
    "test_admm_lifetime.py": TIMED,
    "test_admm_properties.py": NOT_SMALL,
    "test_admm_robust.py": CPU_ONLY,
    "test_admm_torch.py": NOT_SMALL,
    "test_admm_witness.py": NOT_SMALL,
    "test_checkpoint.py": TOO_LONG,
    "test_cli.py": INTERPRETER,
    "test_demo_network.py": NOT_SMALL,
    "test_demo_newton.py": CPU_ONLY,
    "test_docs.py": NO_SOLVER,
    "test_docstrings.py": NO_SOLVER,
    "test_examples.py": INTERPRETER,
    "test_figures.py": NO_SOLVER,
    "test_first_contact.py": NO_SOLVER,
    "test_fork.py": FORKS,
    "test_hostile.py": NOT_SMALL,
    "test_layers.py": NO_SOLVER,
    "test_leaks.py": TIMED,
    "test_literature.py": TOO_LONG,
    "test_memory.py": TIMED,
    "test_minimize.py": HYBRID,
    "test_mistakes.py": HYBRID,
    "test_nist.py": HYBRID,
    "test_options.py": NO_SOLVER,
    "test_plot.py": NO_SOLVER,
    "test_problems.py": CPU_ONLY,
    "test_progress.py": NO_SOLVER,
    "test_random.py": CPU_ONLY,
    "test_reproducible.py": INTERPRETER,
    "test_scipy_suites.py": INTERPRETER,
    "test_signals.py": TIMED,
    "test_sketch_hard.py": CPU_ONLY,
    "test_sketch_lifetime.py": CPU_ONLY,
    "test_sketch_newton.py": CPU_ONLY,
    "test_sketch_operators.py": CPU_ONLY,
    "test_sketch_properties.py": CPU_ONLY,
    "test_sketch_scipy_suite.py": CPU_ONLY,
    "test_sklearn.py": NOT_SMALL,
    "test_threads.py": TIMED,
    "test_torch_faces.py": NO_SOLVER,
    "test_types.py": NO_SOLVER,
    "test_wheel.py": NO_SOLVER,
    # ---- fixtures ----
    "fresh_python": INTERPRETER,
    "bytes_kept": INTERPRETER,
    "interrupt": INTERPRETER,
    "in_child": FORKS,
    # ---- tests ----
    "test_api.py::test_maxtime_ends_a_run": TIMED,
    "test_api.py::test_threads_do_not_change_the_result": TOO_LONG,
    "test_api.py::test_every_dynamics_finds_the_bottom_of_a_bowl[polarized]": TOO_LONG,
    "test_api.py::test_polarized_returns_several_minimizers": TOO_LONG,
    "test_constraints.py::test_vectorized_constraints_take_columns": TOO_LONG,
    "test_dynamics.py::test_converges_to_a_shifted_minimum": TOO_LONG,
    "test_dynamics.py::test_batches_converge": TOO_LONG,
    "test_dynamics.py::test_polarized_finds_all_minimizers": TOO_LONG,
    "test_dynamics.py::test_sampling_reproduces_a_gaussian": TOO_LONG,
    "test_dynamics.py::test_defaults_are_sensible[polarized]": TOO_LONG,
    "test_bad_input.py::test_arguments[{'device': 'cuda'}-device]": "expects a build without CUDA",
    "test_bad_input.py::test_nothing_is_kept_alive_after_a_run": TIMED,
    "test_bad_input.py::test_ctrl_c_ends_a_run_at_once": TIMED,
    "test_bad_input.py::test_the_interpreter_is_free_during_a_native_run": TIMED,
    "test_objectives.py::test_threads_of_python_solve_at_once_without_touching_each_other": TIMED,
    "test_objectives.py::test_a_thread_pools_map_serves_as_workers": TIMED,
    "test_objectives.py::test_the_objective_runs_in_the_callers_thread": TIMED,
    "test_objectives.py::test_processes_give_the_same_run": FORKS,
    "test_objectives.py::test_processes_need_picklable_functions": FORKS,
    "test_objectives.py::test_exceptions_in_worker_processes_come_back": FORKS,
    "test_objectives.py::test_jax_functions": "starts threads, beside which nothing should fork",
    "test_admm_relu.py::test_network_value_is_program_value": NOT_SMALL,
    "test_admm_relu.py::test_scaling_x_and_y_changes_no_iteration": NOT_SMALL,
    "test_admm_relu.py::test_permuting_samples_leaves_the_optimum": NOT_SMALL,
    "test_admm_relu.py::test_same_bits_for_any_number_of_threads": NOT_SMALL,
    "test_admm_relu.py::test_tight_gap": NOT_SMALL,
    "test_admm_relu.py::test_admm_is_quick_to_a_good_network": NOT_SMALL,
    "test_admm_relu.py::test_float32_iterates_with_a_float64_certificate": NOT_SMALL,
    "test_admm_relu.py::test_path_equals_single_runs": NOT_SMALL,
    "test_admm_relu.py::test_warm_start_from_the_answer_takes_no_iteration": NOT_SMALL,
    "test_admm_relu.py::test_generated_gates_lower_the_objective": NOT_SMALL,
    "test_admm_relu.py::test_weights_equal_repeated_samples": NOT_SMALL,
    "test_admm_relu.py::test_published_splitting_is_no_success_far_from_the_optimum": NOT_SMALL,
    "test_admm_relu.py::test_tiny_and_huge_data": NOT_SMALL,
    "test_admm_relu.py::test_arrays_of_any_layout": NOT_SMALL,
    "test_admm_relu.py::test_weak_duality_at_random_points": CPU_ONLY,
    "test_admm_relu.py::test_prox_is_optimal": CPU_ONLY,
    "test_admm_relu.py::test_projection_agrees_with_nonnegative_least_squares": CPU_ONLY,
    "test_admm_relu.py::test_memory_is_foreseen": CPU_ONLY,
    "test_admm_relu.py::test_defaults_of_core_and_python_agree": CPU_ONLY,
    "test_admm_relu.py::test_path_keeps_to_its_time": TIMED,
    "test_admm_relu.py::test_ctrl_c_costs_less_than_half_a_second_of_work": TIMED,
    "test_admm_relu.py::test_ctrl_c_is_quick_and_leaves_the_partial_result": TIMED,
    "test_admm_relu.py::test_auto_has_one_time_limit_for_both_of_its_methods": TIMED,
}
