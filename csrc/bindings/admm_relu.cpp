// Convex training of two-layer ReLU networks for Python: a program that holds its data, and the
// solvers that run on it.
#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <string>

#include "admm_relu/gates.hpp"
#include "admm_relu/program.hpp"
#include "bindings/communicator.hpp"
#include "bindings/monitor.hpp"
#include "core/clock.hpp"
#include "core/parallel.hpp"

namespace fastopt {
namespace {

struct PyAdmmRecord {
    AdmmRecord r;
    py::array_t<double> weights;
};

class PyAdmmMonitor final : public AdmmMonitor {
  public:
    explicit PyAdmmMonitor(py::object fn) : fn_(std::move(fn)), signals_(py::object()) {}
    ~PyAdmmMonitor() override {
        const py::gil_scoped_acquire gil;
        fn_ = py::object();
    }
    bool wanted() const override { return static_cast<bool>(fn_); }
    bool stop(const AdmmRecord& r) override {
        const py::gil_scoped_acquire gil;
        const auto record =
            std::make_shared<PyAdmmRecord>(PyAdmmRecord{r, copy_of(r.weights, r.size)});
        return py::bool_(fn_(record));
    }
    void poll() override { signals_.poll(); }

  private:
    py::object fn_; // null without a callback
    PyMonitor signals_;
};

// Runs native work without the GIL; Ctrl-C ends it between two pieces of a parallel loop.
template <class F> auto interruptible(F work) {
    PyMonitor signals{py::object()};
    const py::gil_scoped_release nogil;
    const ScopedPoll poll([&signals] { signals.poll(); });
    return work();
}

py::array_t<double> matrix(const std::vector<double>& values, index_t columns) {
    return copy_of(values).reshape({static_cast<py::ssize_t>(values.size()) / columns, columns});
}

// The data of one program; its arrays stay alive with it.
class PyProgram {
  public:
    PyProgram(Rows<double> x, Rows<double> gates, const Rows<double>& y,
              const std::optional<Rows<double>>& weights, const std::string& loss, double parameter,
              bool cone, int signs, bool single_columns, const std::optional<Rows<double>>& radius,
              int threads, const py::object& ranks, const std::string& shard)
        : x_(std::move(x)), gates_(std::move(gates)) {
        FASTOPT_REQUIRE(shard == "gates" || shard == "samples",
                        "shard must be 'gates' or 'samples', got '" + shard + "'");
        FASTOPT_REQUIRE(x_.ndim() == 2 && gates_.ndim() == 2 && y.ndim() == 2,
                        "X, gates and Y must have two dimensions");
        ProgramShape shape;
        shape.n = x_.shape(0), shape.d = x_.shape(1);
        shape.n_gates = gates_.shape(0), shape.c = y.shape(0);
        shape.cone = cone, shape.signs = signs, shape.single_columns = single_columns;
        FASTOPT_REQUIRE(shape.n > 0 && shape.d > 0 && shape.n_gates > 0 && shape.c > 0,
                        "X, gates and Y must not be empty");
        FASTOPT_REQUIRE(gates_.shape(1) == shape.n && y.shape(1) == shape.n,
                        "gates must have the shape (n_gates, n) and Y (n_outputs, n)");
        FASTOPT_REQUIRE(!weights || weights->size() == shape.n, "weights must have n entries");
        FASTOPT_REQUIRE(signs == 1 || signs == 2, "signs must be 1 or 2");
        FASTOPT_REQUIRE(!single_columns || (shape.n_gates == 1 && !cone),
                        "single columns go with one gate and no cone");
        shape.robust = radius.has_value();
        std::vector<double> reach = radius ? vector_of(*radius) : std::vector<double>();
        const LossKind kind = loss_kind(loss);
        Sharing sharing;
        if (!ranks.is_none()) {
            FASTOPT_REQUIRE(!shape.robust, "ranks cannot share a robust program");
            ranks_ = std::make_unique<PyCommunicator>(ranks);
            const bool of_gates = shard == "gates";
            (of_gates ? sharing.weights : sharing.samples) = ranks_.get();
            double all = static_cast<double>(of_gates ? shape.n_gates : shape.n);
            ranks_->allreduce(&all, 1);
            (of_gates ? shape.all_gates : shape.all_n) = static_cast<index_t>(all);
        }
        if (shape.robust) {
            FASTOPT_REQUIRE(radius->size() == shape.d, "radius must have d entries");
            FASTOPT_REQUIRE(shape.c == 1 && cone, "a robust program has one output and cones");
            FASTOPT_REQUIRE(kind == LossKind::squared || kind == LossKind::logistic ||
                                kind == LossKind::hinge || kind == LossKind::squared_hinge,
                            "there is no robust form of loss '" + loss + "'");
        }
        program_ = interruptible([&] {
            Loss l(kind, shape.n, shape.c, vector_of(y),
                   weights ? vector_of(*weights) : std::vector<double>(), parameter, threads,
                   make_queue(), sharing);
            return std::make_unique<Program>(shape, x_.data(), gates_.data(), std::move(l), threads,
                                             reach);
        });
    }

    py::dict solve(const std::string& method, double beta, const std::string& dtype,
                   const AdmmOptions& options, const std::optional<Rows<double>>& warm,
                   const py::object& monitor) {
        FASTOPT_REQUIRE(dtype == "float64" || dtype == "float32",
                        "dtype must be 'float64' or 'float32', got '" + dtype + "'");
        FASTOPT_REQUIRE(method == "splitting" || method == "paper",
                        "method must be 'splitting' or 'paper', got '" + method + "'");
        FASTOPT_REQUIRE(beta > 0, "beta must be positive");
        FASTOPT_REQUIRE(!program_->robust || method == "splitting",
                        "a robust program needs method 'splitting'");
        FASTOPT_REQUIRE(!warm || warm->size() == program_->shape.size(),
                        "warm must have " + std::to_string(program_->shape.size()) + " entries");
        PyAdmmMonitor watch(monitor.is_none() ? py::object() : monitor);
        const double* start = warm ? warm->data() : nullptr;
        AdmmResult r;
        {
            const py::gil_scoped_release nogil;
            const ScopedPoll poll([&watch] { watch.poll(); });
            const bool paper = method == "paper", single = dtype == "float32";
            r = single ? run<float>(paper, beta, options, start, watch, single_)
                       : run<double>(paper, beta, options, start, watch, double_);
        }
        return as_dict(r, options.record_history);
    }

    // Of the cones, or the cheaper bound from above without them.
    double beta_max(bool cones) {
        return interruptible([&] {
            if (cones) return program_->beta_max();
            const ProgramShape& s = program_->shape;
            const Array<double> zero = output(s.predictions()), theta = output(s.dual_size());
            program_->gradient(zero.data(), theta.data());
            return program_->gated_dual_norm(theta.data());
        });
    }
    double dual_norm(const Rows<double>& t, double level) {
        check_dual(t);
        return interruptible([&] { return program_->dual_norm(input(t).data(), level); });
    }
    double dual(const Rows<double>& t, double beta) {
        check_dual(t);
        return interruptible([&] { return program_->dual(input(t).data(), beta); });
    }
    double conjugate(const Rows<double>& t) const {
        check_dual(t);
        return program_->conjugate(input(t).data());
    }
    double loss(const Rows<double>& z) const {
        check_predictions(z);
        return program_->value(input(z).data());
    }
    py::array_t<double> gradient(const Rows<double>& z) const {
        check_predictions(z);
        const ProgramShape& s = program_->shape;
        const Array<double> out = output(s.dual_size());
        program_->gradient(input(z).data(), out.data());
        return share(out.take(), {s.dual_size() / s.n, s.n});
    }
    py::array_t<double> prox(const Rows<double>& r, double rho) const {
        check_predictions(r);
        const ProgramShape& s = program_->shape;
        const Array<double> out = output(s.predictions());
        if (program_->robust)
            program_->robust->prox(input(r).data(), rho, out.data(), output(s.dual_size()).data());
        else
            program_->loss.prox(input(r).data(), rho, out.data());
        return share(out.take(), {s.outputs(), s.n});
    }
    double objective(const Rows<double>& v, double beta) {
        check_weights(v);
        return interruptible([&] {
            const Array<double> z = output(program_->shape.predictions());
            return program_->objective(input(v).data(), beta, z.data());
        });
    }
    double violation(const Rows<double>& v) {
        check_weights(v);
        return program_->violation(input(v).data());
    }
    py::array_t<double> make_feasible(const Rows<double>& v) {
        check_weights(v);
        const Array<double> w = output(v.size());
        std::copy(v.data(), v.data() + v.size(), w.mirror());
        interruptible([&] {
            w.send();
            program_->make_feasible(w.data());
        });
        return share(w.take(), {static_cast<py::ssize_t>(v.size())});
    }

  private:
    template <class T>
    AdmmResult run(bool paper, double beta, const AdmmOptions& o, const double* warm,
                   AdmmMonitor& watch, std::unique_ptr<SplittingSolver<T>>& solver) {
        const Clock clock;
        if (paper) return PaperSolver<T>(*program_, o.max_dense).solve(beta, o, warm, watch);
        if (!solver) solver = std::make_unique<SplittingSolver<T>>(*program_, o.max_dense);
        const double gram = clock.seconds(); // its time counts too
        AdmmOptions rest(o);
        rest.maxtime -= gram;
        AdmmResult r = solver->solve(beta, rest, warm, watch);
        r.setup += gram;
        return r;
    }

    // NumPy's numbers where the kernels run, and a place for those that come back.
    Input<double> input(const Rows<double>& a) const {
        return {program_->steps.queue(), a.data(), static_cast<index_t>(a.size())};
    }
    Array<double> output(index_t n) const { return program_->steps.array<double>(n); }

    void check_predictions(const Rows<double>& t) const {
        FASTOPT_REQUIRE(t.size() == program_->shape.predictions(),
                        "the array must have the shape (n_outputs, n), or (d, n) if robust");
    }
    void check_dual(const Rows<double>& t) const {
        FASTOPT_REQUIRE(t.size() == program_->shape.dual_size(),
                        "the dual point must have the shape (n_outputs, n), or (d + 2, n) if "
                        "robust");
    }
    void check_weights(const Rows<double>& v) const {
        FASTOPT_REQUIRE(v.size() == program_->shape.size(),
                        "the weights must have " + std::to_string(program_->shape.size()) +
                            " entries");
    }

    static py::dict as_dict(const AdmmResult& r, bool with_history) {
        py::dict out;
        out["status"] = code(r.status);
        out["success"] = success(r.status);
        out["reason"] = r.status == Status::maxtime      ? "maxtime"
                        : r.status == Status::maxiter    ? "maxiter"
                        : r.status == Status::converged  ? "converged"
                        : r.status == Status::not_finite ? "not_finite"
                                                         : "callback";
        out["weights"] = copy_of(r.weights);
        out["theta"] = copy_of(r.theta);
        out["fun"] = r.fun;
        out["dual_fun"] = r.dual;
        out["penalty"] = r.penalty;
        out["violation"] = r.violation;
        out["beta_max"] = r.beta_max;
        out["rho"] = r.rho;
        out["rho_cone"] = r.rho_cone;
        out["setup"] = r.setup;
        out["nit"] = r.nit;
        out["newton_steps"] = r.newton_steps;
        out["factorisations"] = r.factorisations;
        out["cg_iterations"] = r.cg_iterations;
        if (with_history) {
            const AdmmHistory& h = r.history;
            py::dict history;
            history["nit"] = copy_of(h.nit);
            history["time"] = copy_of(h.time);
            history["fun"] = copy_of(h.fun);
            history["dual_fun"] = copy_of(h.dual);
            history["primal_residual"] = copy_of(h.primal_residual);
            history["dual_residual"] = copy_of(h.dual_residual);
            history["rho"] = copy_of(h.rho);
            out["history"] = history;
        }
        return out;
    }

    Rows<double> x_, gates_;
    std::unique_ptr<PyCommunicator> ranks_; // that share the program
    std::unique_ptr<Program> program_;
    std::unique_ptr<SplittingSolver<double>> double_;
    std::unique_ptr<SplittingSolver<float>> single_;
};

} // namespace

void bind_admm_relu(py::module_& m) {
    using namespace pybind11::literals;

    py::class_<PyAdmmRecord, std::shared_ptr<PyAdmmRecord>>(m, "AdmmRecord", py::module_local())
        .def_property_readonly("nit", [](const PyAdmmRecord& p) { return p.r.nit; })
        .def_property_readonly("fun", [](const PyAdmmRecord& p) { return p.r.fun; })
        .def_property_readonly("dual_fun", [](const PyAdmmRecord& p) { return p.r.dual; })
        .def_property_readonly("primal_residual",
                               [](const PyAdmmRecord& p) { return p.r.primal_residual; })
        .def_property_readonly("dual_residual",
                               [](const PyAdmmRecord& p) { return p.r.dual_residual; })
        .def_readonly("weights", &PyAdmmRecord::weights);

    py::class_<AdmmOptions>(m, "AdmmOptions", py::module_local())
        .def(py::init<>())
        .def_readwrite("rho", &AdmmOptions::rho)
        .def_readwrite("rho_start", &AdmmOptions::rho_start)
        .def_readwrite("rho_cone", &AdmmOptions::rho_cone)
        .def_readwrite("tol", &AdmmOptions::tol)
        .def_readwrite("gap_tol", &AdmmOptions::gap_tol)
        .def_readwrite("maxiter", &AdmmOptions::maxiter)
        .def_readwrite("maxtime", &AdmmOptions::maxtime)
        .def_readwrite("relaxation", &AdmmOptions::relaxation)
        .def_readwrite("memory", &AdmmOptions::memory)
        .def_readwrite("polish", &AdmmOptions::polish)
        .def_readwrite("record_history", &AdmmOptions::record_history)
        .def_readwrite("max_dense", &AdmmOptions::max_dense);

    py::class_<PyProgram>(m, "ReluProgram", py::module_local())
        .def(py::init<Rows<double>, Rows<double>, const Rows<double>&,
                      const std::optional<Rows<double>>&, const std::string&, double, bool, int,
                      bool, const std::optional<Rows<double>>&, int, const py::object&,
                      const std::string&>(),
             "X"_a, "gates"_a, "Y"_a, "weights"_a = py::none(), "loss"_a = "squared",
             "parameter"_a = 1.0, "cone"_a = true, "signs"_a = 2, "single_columns"_a = false,
             "radius"_a = py::none(), "threads"_a = 0, "ranks"_a = py::none(), "shard"_a = "gates")
        .def("solve", &PyProgram::solve, "method"_a, "beta"_a, "dtype"_a, "options"_a,
             "warm"_a = py::none(), "monitor"_a = py::none())
        .def("beta_max", &PyProgram::beta_max, "cones"_a = true)
        .def("dual_norm", &PyProgram::dual_norm, "theta"_a, "level"_a = 0.0)
        .def("dual", &PyProgram::dual, "theta"_a, "beta"_a)
        .def("conjugate", &PyProgram::conjugate, "theta"_a)
        .def("loss", &PyProgram::loss, "predictions"_a)
        .def("gradient", &PyProgram::gradient, "predictions"_a)
        .def("prox", &PyProgram::prox, "r"_a, "rho"_a)
        .def("objective", &PyProgram::objective, "weights"_a, "beta"_a)
        .def("violation", &PyProgram::violation, "weights"_a)
        .def("make_feasible", &PyProgram::make_feasible, "weights"_a);

    m.def(
        "sample_gates",
        [](const Rows<double>& x, index_t n_gates, std::uint32_t k0, std::uint32_t k1,
           std::uint32_t stream, const std::optional<Rows<double>>& known, int threads,
           const py::object& ranks) {
            const auto old = known ? vector_of(*known) : std::vector<double>();
            std::unique_ptr<PyCommunicator> comm;
            if (!ranks.is_none()) comm = std::make_unique<PyCommunicator>(ranks);
            const auto gates = interruptible([&] {
                return sample_gates(x.shape(0), x.shape(1), x.data(), n_gates, {k0, k1}, stream,
                                    old, threads, comm.get());
            });
            return matrix(gates, x.shape(1));
        },
        "X"_a, "n_gates"_a, "key0"_a, "key1"_a, "stream"_a = 0, "known"_a = py::none(),
        "threads"_a = 0, "ranks"_a = py::none());
    m.def(
        "gate_patterns",
        [](const Rows<double>& x, const Rows<double>& gates, int threads) {
            const auto h = vector_of(gates);
            const auto patterns = interruptible(
                [&] { return gate_patterns(x.shape(0), x.shape(1), x.data(), h, threads); });
            return matrix(patterns, x.shape(0));
        },
        "X"_a, "gates"_a, "threads"_a = 0);
    m.def(
        "ascend_gates",
        [](const Rows<double>& x, const Rows<double>& theta, const Rows<double>& starts,
           const Rows<double>& known, int threads, double maxtime) {
            const auto begin = vector_of(starts), old = vector_of(known);
            const index_t n = x.shape(0), d = x.shape(1), c = theta.shape(0);
            const auto found = interruptible([&] {
                return ascend_gates(n, d, c, x.data(), theta.data(), begin, old, threads, maxtime);
            });
            return matrix(found, d + 2);
        },
        "X"_a, "theta"_a, "starts"_a, "known"_a, "threads"_a = 0, "maxtime"_a = unlimited);
}

} // namespace fastopt
