// Consensus-based optimisation for Python: objectives, options, one call.
#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <string>

#include "bindings/communicator.hpp"
#include "bindings/monitor.hpp"
#include "bindings/objectives.hpp"
#include "cbo/cbo.hpp"
#include "cbo/native_objective.hpp"

namespace fastopt {
namespace {

// ---- objectives ------------------------------------------------------------------------------

template <class T> class BatchGradient final : public Gradient<T> {
  public:
    BatchGradient(py::function fn, index_t d) : fn_(std::move(fn)), d_(d) {}
    ~BatchGradient() override {
        const py::gil_scoped_acquire gil;
        fn_ = py::function();
        x_.drop(), g_.drop();
    }
    void evaluate(T* x, index_t n, T* g) override {
        const py::gil_scoped_acquire gil;
        auto& points = x_.get({n, d_});
        std::copy(x, x + n * d_, points.mutable_data());
        auto& gradients = g_.get({n, d_});
        fn_(points, gradients);
        std::copy(gradients.data(), gradients.data() + n * d_, g);
    }

  private:
    py::function fn_;
    index_t d_;
    Handout<T> x_, g_;
};

std::shared_ptr<AnyObjective> native_objective(const std::string& name, index_t dim,
                                               const std::optional<Rows<double>>& shift,
                                               const std::optional<Rows<double>>& rotation) {
    const ObjectiveId id = objective_id(name, dim);
    const auto s = shift ? vector_of(*shift) : std::vector<double>();
    const auto r = rotation ? vector_of(*rotation) : std::vector<double>();
    NativeObjective<double>(id, dim, s, r, 1); // refuses wrong sizes
    return objective_by([=](auto zero, index_t d, int threads) -> Made<decltype(zero)> {
        FASTOPT_REQUIRE(d == dim, "the objective has " + std::to_string(dim) +
                                      " coordinates, but bounds has " + std::to_string(d));
        return std::make_unique<NativeObjective<decltype(zero)>>(id, d, s, r, threads);
    });
}

std::shared_ptr<AnyObjective> cfunc_objective(std::uintptr_t address, std::uintptr_t user_data,
                                              bool has_user_data, const py::object& owner) {
    FASTOPT_REQUIRE(address != 0, "the C function pointer is NULL");
    CFunction function;
    if (has_user_data)
        function.with_data = reinterpret_cast<double (*)(int, double*, void*)>(address);
    else
        function.plain = reinterpret_cast<double (*)(int, double*)>(address);
    function.user_data = reinterpret_cast<void*>(user_data);
    return objective_by( // the owner of the code lives as long as the objective
        [function, keep = kept(owner)](auto zero, index_t d, int threads) -> Made<decltype(zero)> {
            return std::make_unique<CFunctionObjective<decltype(zero)>>(function, d, threads);
        });
}

std::shared_ptr<AnyObjective> batch_objective(const py::function& fn, bool constrained) {
    return objective_by(
        [keep = kept(fn), constrained](auto zero, index_t d, int) -> Made<decltype(zero)> {
            const py::gil_scoped_acquire gil;
            return std::make_unique<BatchObjective<decltype(zero)>>(*keep, d, constrained);
        });
}

template <class T>
py::object evaluate(const AnyObjective& any, const Rows<T>& points, int threads) {
    FASTOPT_REQUIRE(points.ndim() == 2, "X must have two dimensions (points, coordinates)");
    const index_t n = points.shape(0), d = points.shape(1);
    const auto objective = any.make<T>(d, threads);
    std::vector<T> x(points.data(), points.data() + n * d);
    py::array_t<double> f(n), v(n);
    double* values = f.mutable_data();
    double* violations = v.mutable_data();
    {
        const py::gil_scoped_release nogil;
        objective->evaluate(x.data(), n, values, violations);
    }
    if (objective->constrained()) return py::make_tuple(f, v);
    return f;
}

// ---- cbo -------------------------------------------------------------------------------------

// The options as Python spells them: words for choices.
struct PyOptions : CboOptions {
    std::string dtype = "float64", init = "latinhypercube";
};

template <class E> struct Word {
    E value;
    const char* text;
};
constexpr Word<Dynamics> dynamics_words[] = {
    {Dynamics::hybrid, "hybrid"},     {Dynamics::standard, "standard"},
    {Dynamics::memory, "memory"},     {Dynamics::hopping, "hopping"},
    {Dynamics::sampling, "sampling"}, {Dynamics::polarized, "polarized"}};
constexpr Word<Noise> noise_words[] = {{Noise::anisotropic, "anisotropic"},
                                       {Noise::isotropic, "isotropic"},
                                       {Noise::covariance, "covariance"}};
constexpr Word<bool> batch_words[] = {{false, "partial"}, {true, "full"}};
constexpr Word<bool> boundary_words[] = {{false, "reflect"}, {true, "clip"}};

template <class E, std::size_t n>
void word_property(py::class_<PyOptions>& c, const char* name, E CboOptions::* field,
                   const Word<E> (&words)[n]) {
    c.def_property(
        name,
        [field, &words](const PyOptions& o) {
            for (const Word<E>& w : words)
                if (w.value == o.*field) return std::string(w.text);
            return std::string();
        },
        [field, &words, name](PyOptions& o, const std::string& text) {
            std::string known;
            for (const Word<E>& w : words) {
                if (text == w.text) {
                    o.*field = w.value;
                    return;
                }
                known += (known.empty() ? "'" : ", '") + std::string(w.text) + "'";
            }
            throw py::value_error(std::string(name) + " must be one of " + known + "; got '" +
                                  text + "'");
        });
}

template <class T>
py::dict run(const AnyObjective& any, const PyOptions& options, const Rows<double>& lower,
             const Rows<double>& upper, const std::optional<Rows<bool>>& integrality,
             const std::optional<Rows<double>>& init, const std::optional<Rows<double>>& x0,
             const py::object& monitor, const py::object& local_search, const py::object& gradient,
             const std::optional<py::dict>& state, const py::object& poll, const py::object& comm) {
    const index_t d = lower.size();
    CboProblem<T> problem;
    const auto objective = any.make<T>(d, options.threads);
    PyMonitor watch(monitor.is_none() ? py::object() : monitor,
                    poll.is_none() ? py::object() : poll);
    problem.objective = objective.get();
    problem.monitor = &watch;
    problem.lower = vector_of(lower);
    problem.upper = vector_of(upper);
    problem.random_init = options.init == "random";
    if (integrality)
        problem.integer.assign(integrality->data(), integrality->data() + integrality->size());
    if (x0) problem.x0 = vector_of(*x0);
    Rows<T> particles;
    if (init) {
        particles = Rows<T>(*init);
        FASTOPT_REQUIRE(particles.ndim() == 2 && particles.shape(0) == options.n_particles &&
                            particles.shape(1) == d,
                        "init must have the shape (n_particles, n_dim) = (" +
                            std::to_string(options.n_particles) + ", " + std::to_string(d) + ")");
        problem.init = particles.data();
    }
    std::unique_ptr<BatchGradient<T>> slope;
    if (!gradient.is_none()) {
        slope = std::make_unique<BatchGradient<T>>(gradient.cast<py::function>(), d);
        problem.gradient = slope.get();
    }
    const UserSearch search = [&](std::vector<double>& x, index_t maxfun, double& f, double& v) {
        const py::gil_scoped_acquire gil;
        const py::tuple answer = local_search(copy_of(x), maxfun);
        x = vector_of(answer[0].cast<Rows<double>>());
        FASTOPT_REQUIRE(static_cast<index_t>(x.size()) == d, "local_search returned a wrong shape");
        f = answer[1].cast<double>(), v = answer[2].cast<double>();
        return answer[3].cast<index_t>();
    };
    if (!local_search.is_none()) problem.local_search = &search;
    std::optional<PyCommunicator> ranks;
    if (!comm.is_none()) problem.comm = &ranks.emplace(comm);
    std::optional<Snapshot> resume;
    if (state) resume = to_snapshot(*state);

    CboResult<T> result;
    {
        const py::gil_scoped_release nogil;
        result = solve_cbo(problem, options, resume ? &*resume : nullptr);
    }
    py::dict out;
    out["x"] = copy_of(result.x);
    out["fun"] = result.fun;
    out["violation"] = result.violation;
    out["status"] = code(result.status);
    out["message"] = message(result.status);
    out["success"] = success(result.status);
    out["nit"] = result.nit;
    out["nfev"] = result.nfev;
    out["population"] = share(result.population, {result.population.size() / d, d});
    out["first_row"] = result.first_row;
    out["population_energies"] = share(result.energies, {result.energies.size()});
    out["weights"] = share(result.weights, {result.weights.size()});
    out["consensus"] = copy_of(result.consensus);
    if (options.record_history) {
        const History& h = result.history;
        py::dict history;
        history["nfev"] = copy_of(h.nfev);
        history["fun"] = copy_of(h.fun);
        history["spread"] = copy_of(h.spread);
        history["alpha"] = copy_of(h.alpha);
        history["step_size"] = copy_of(h.step_size);
        history["consensus"] =
            copy_of(h.consensus).reshape({static_cast<py::ssize_t>(h.nfev.size()), d});
        out["history"] = history;
    }
    return out;
}

} // namespace

void bind_cbo(py::module_& m) {
    using namespace pybind11::literals;

    py::class_<AnyObjective, std::shared_ptr<AnyObjective>>(m, "Objective", py::module_local())
        .def("evaluate", &evaluate<float>, "X"_a.noconvert(), "threads"_a = 0)
        .def("evaluate", &evaluate<double>, "X"_a, "threads"_a = 0);
    m.def("native_objective", &native_objective, "name"_a, "dim"_a, "shift"_a = py::none(),
          "rotation"_a = py::none());
    m.def("cfunc_objective", &cfunc_objective, "address"_a, "user_data"_a, "has_user_data"_a,
          "owner"_a);
    m.def("batch_objective", &batch_objective, "fn"_a, "constrained"_a = false);

    py::class_<PyRecord, std::shared_ptr<PyRecord>>(m, "Record", py::module_local())
        .def_property_readonly("nit", [](const PyRecord& p) { return p.r.nit; })
        .def_property_readonly("nfev", [](const PyRecord& p) { return p.r.nfev; })
        .def_property_readonly("fun", [](const PyRecord& p) { return p.r.fun; })
        .def_property_readonly("violation", [](const PyRecord& p) { return p.r.violation; })
        .def_property_readonly("spread", [](const PyRecord& p) { return p.r.spread; })
        .def_property_readonly("alpha", [](const PyRecord& p) { return p.r.alpha; })
        .def_property_readonly("step_size", [](const PyRecord& p) { return p.r.step_size; })
        .def_readonly("x", &PyRecord::x)
        .def_readonly("consensus", &PyRecord::consensus)
        .def("state", [](const PyRecord& p) {
            if (!p.r.snapshot) throw py::value_error("state() works during the callback only");
            return to_dict((*p.r.snapshot)());
        });

    py::class_<PyOptions> options(m, "CboOptions", py::module_local());
    options.def(py::init<>())
        .def_readwrite("dtype", &PyOptions::dtype)
        .def_readwrite("init", &PyOptions::init)
        .def_readwrite("n_particles", &PyOptions::n_particles)
        .def_readwrite("drift", &PyOptions::drift)
        .def_readwrite("diffusion", &PyOptions::diffusion)
        .def_readwrite("diffusion_factor", &PyOptions::diffusion_factor)
        .def_readwrite("alpha", &PyOptions::alpha)
        .def_readwrite("alpha_factor", &PyOptions::alpha_factor)
        .def_readwrite("alpha_max", &PyOptions::alpha_max)
        .def_readwrite("alpha_schedule", &PyOptions::alpha_schedule)
        .def_readwrite("ess", &PyOptions::ess)
        .def_readwrite("truncation", &PyOptions::truncation)
        .def_readwrite("memory_drift", &PyOptions::memory_drift)
        .def_readwrite("memory_diffusion", &PyOptions::memory_diffusion)
        .def_readwrite("batch_size", &PyOptions::batch_size)
        .def_readwrite("gradient_weight", &PyOptions::gradient_weight)
        .def_readwrite("kernel_width", &PyOptions::kernel_width)
        .def_readwrite("n_minimizers", &PyOptions::n_minimizers)
        .def_readwrite("samples", &PyOptions::samples)
        .def_readwrite("polish", &PyOptions::polish)
        .def_readwrite("maxiter", &PyOptions::maxiter)
        .def_readwrite("maxfev", &PyOptions::maxfev)
        .def_readwrite("maxtime", &PyOptions::maxtime)
        .def_readwrite("f_target", &PyOptions::f_target)
        .def_readwrite("tol", &PyOptions::tol)
        .def_readwrite("atol", &PyOptions::atol)
        .def_readwrite("threads", &PyOptions::threads)
        .def_readwrite("record_history", &PyOptions::record_history)
        .def_property(
            "key0", [](const PyOptions& o) { return o.key.k0; },
            [](PyOptions& o, std::uint32_t k) { o.key.k0 = k; })
        .def_property(
            "key1", [](const PyOptions& o) { return o.key.k1; },
            [](PyOptions& o, std::uint32_t k) { o.key.k1 = k; });
    word_property(options, "dynamics", &CboOptions::dynamics, dynamics_words);
    word_property(options, "noise", &CboOptions::noise, noise_words);
    word_property(options, "batch_mode", &CboOptions::batch_full, batch_words);
    word_property(options, "boundary", &CboOptions::clip, boundary_words);

    m.def(
        "cbo",
        [](const AnyObjective& objective, const PyOptions& o, const Rows<double>& lower,
           const Rows<double>& upper, const std::optional<Rows<bool>>& integrality,
           const std::optional<Rows<double>>& init, const std::optional<Rows<double>>& x0,
           const py::object& monitor, const py::object& local_search, const py::object& gradient,
           const std::optional<py::dict>& state, const py::object& poll, const py::object& comm) {
            FASTOPT_REQUIRE(o.dtype == "float64" || o.dtype == "float32",
                            "dtype must be 'float64' or 'float32', got '" + o.dtype + "'");
            const auto solve = o.dtype == "float64" ? &run<double> : &run<float>;
            return solve(objective, o, lower, upper, integrality, init, x0, monitor, local_search,
                         gradient, state, poll, comm);
        },
        "objective"_a, "options"_a, "lower"_a, "upper"_a, py::kw_only(),
        "integrality"_a = py::none(), "init"_a = py::none(), "x0"_a = py::none(),
        "monitor"_a = py::none(), "local_search"_a = py::none(), "gradient"_a = py::none(),
        "state"_a = py::none(), "poll"_a = py::none(), "comm"_a = py::none());
}

} // namespace fastopt
