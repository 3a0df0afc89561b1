// sketch_newton, sketches, least squares and generalised linear models for Python.
#include <pybind11/stl.h>

#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "bindings/matrix.hpp"
#include "bindings/monitor.hpp"
#include "bindings/queue.hpp"
#include "core/parallel.hpp"
#include "sketch_newton/glm.hpp"
#include "sketch_newton/newton.hpp"
#include "sketch_newton/precondition.hpp"
#include "sketch_newton/sketch_steps.hpp"

namespace fastopt {
namespace {

// ---- words ------------------------------------------------------------------------------------

template <class E> struct Named {
    const char* text;
    E value;
};

constexpr Named<SketchKind> kind_words[] = {
    {"sjlt", SketchKind::sjlt},       {"countsketch", SketchKind::countsketch},
    {"srht", SketchKind::srht},       {"gaussian", SketchKind::gaussian},
    {"uniform", SketchKind::uniform}, {"leverage", SketchKind::leverage},
    {"less", SketchKind::less},
};
constexpr Named<LinearSolver> solver_words[] = {
    {"auto", LinearSolver::automatic},        {"ldl", LinearSolver::ldl},
    {"sketch-pcg", LinearSolver::sketch_pcg}, {"nystrom-pcg", LinearSolver::nystrom_pcg},
    {"minres", LinearSolver::minres},         {"kaczmarz", LinearSolver::kaczmarz},
    {"gaussian", LinearSolver::gaussian},     {"countsketch", LinearSolver::countsketch},
    {"block", LinearSolver::block},
};
constexpr Named<Globalisation> globalisation_words[] = {
    {"merit", Globalisation::merit},
    {"filter", Globalisation::filter},
    {"adasketch", Globalisation::adasketch},
};
constexpr Named<Family> family_words[] = {
    {"gaussian", Family::gaussian},
    {"logistic", Family::logistic},
    {"poisson", Family::poisson},
    {"gamma", Family::gamma},
};

template <class E, std::size_t n>
E read_word(const char* argument, const std::string& text, const Named<E> (&words)[n]) {
    std::string known;
    for (const Named<E>& w : words) {
        if (text == w.text) return w.value;
        known += (known.empty() ? "'" : ", '") + std::string(w.text) + "'";
    }
    throw py::value_error(std::string(argument) + " must be one of " + known + "; got '" + text +
                          "'");
}

// ---- data -------------------------------------------------------------------------------------

template <class T> void fill_dense(PyMatrix& out, DataMatrix<T>& view, const py::array& a) {
    const auto rows = Rows<T>::ensure(a);
    if (!rows) throw py::error_already_set();
    view.rows = rows.shape(0), view.cols = rows.shape(1), view.values = rows.data();
    out.values = rows;
}

std::shared_ptr<PyMatrix> dense_matrix(const py::array& a, const PyQueue* queue) {
    FASTOPT_REQUIRE(a.ndim() == 2, "A must have two dimensions, got " + std::to_string(a.ndim()));
    auto out = std::make_shared<PyMatrix>();
    out->single = a.dtype().is(py::dtype::of<float>());
    out->single ? fill_dense(*out, out->f32, a) : fill_dense(*out, out->f64, a);
    const auto where = queue ? queue->queue : make_queue();
    out->single ? out->f32.place(where) : out->f64.place(where);
    return out;
}

template <class T>
void fill_csr(PyMatrix& out, DataMatrix<T>& view, const py::array& data,
              const Rows<std::int32_t>& indices, const Rows<std::int64_t>& indptr, index_t cols) {
    const auto entries = Rows<T>::ensure(data);
    if (!entries) throw py::error_already_set();
    view.rows = indptr.size() - 1, view.cols = cols, view.values = entries.data();
    view.indptr = indptr.data(), view.indices = indices.data();
    out.values = entries, out.indices = indices, out.indptr = indptr;
}

std::shared_ptr<PyMatrix> csr_matrix(const py::array& data, const Rows<std::int32_t>& indices,
                                     const Rows<std::int64_t>& indptr, index_t cols,
                                     const PyQueue* queue) {
    FASTOPT_REQUIRE(indptr.ndim() == 1 && indptr.size() >= 1 && indices.ndim() == 1 &&
                        data.ndim() == 1,
                    "data, indices and indptr must be one-dimensional");
    const std::int64_t* p = indptr.data();
    FASTOPT_REQUIRE(p[0] == 0 && p[indptr.size() - 1] == indices.size() &&
                        indices.size() == data.size(),
                    "indptr must start at 0 and end at the number of entries");
    for (py::ssize_t i = 0; i + 1 < indptr.size(); ++i)
        FASTOPT_REQUIRE(p[i] <= p[i + 1], "indptr must not decrease");
    for (py::ssize_t k = 0; k < indices.size(); ++k)
        FASTOPT_REQUIRE(indices.data()[k] >= 0 && indices.data()[k] < cols,
                        "a column index lies outside the matrix");
    auto out = std::make_shared<PyMatrix>();
    out->single = data.dtype().is(py::dtype::of<float>());
    out->single ? fill_csr(*out, out->f32, data, indices, indptr, cols)
                : fill_csr(*out, out->f64, data, indices, indptr, cols);
    const auto where = queue ? queue->queue : make_queue();
    out->single ? out->f32.place(where) : out->f64.place(where);
    return out;
}

const DataMatrix<double>& in_double(const PyMatrix& a) {
    FASTOPT_REQUIRE(!a.single, "A must be float64 here");
    a.require_host();
    return a.f64;
}

// Makes the rows a rank's own of the matrix of all ranks, in their order. A collective call.
void join_ranks(PyMatrix& a, py::object ranks) {
    const DataMatrix<double>& d = in_double(a);
    a.ranks = std::make_unique<PyCommunicator>(std::move(ranks));
    const double own[] = {static_cast<double>(d.rows), static_cast<double>(d.entries())};
    std::vector<double> all(static_cast<std::size_t>(2 * a.ranks->size()));
    a.ranks->allgather(own, 2, all.data());
    RowsOfRanks whole{a.ranks.get()};
    for (int rank = 0; rank < a.ranks->size(); ++rank) {
        if (rank < a.ranks->rank()) whole.first += static_cast<index_t>(all[2 * rank]);
        whole.rows += static_cast<index_t>(all[2 * rank]);
        whole.entries += static_cast<index_t>(all[2 * rank + 1]);
    }
    a.f64.whole = whole;
}

struct SketchArguments {
    SketchOptions o;
    std::vector<double> probabilities;
};

SketchArguments sketch_arguments(index_t n, index_t size, const std::string& kind, index_t nonzeros,
                                 std::uint32_t k0, std::uint32_t k1, int threads,
                                 const std::optional<Rows<double>>& probabilities) {
    SketchArguments s;
    s.o.kind = read_word("kind", kind, kind_words);
    s.o.size = size, s.o.nonzeros = nonzeros, s.o.key = {k0, k1}, s.o.threads = threads;
    if (probabilities) {
        FASTOPT_REQUIRE(probabilities->size() == n, "probabilities must have one entry per row");
        s.probabilities = vector_of(*probabilities);
    }
    return s;
}

template <class T>
py::array run_sketch(const DataMatrix<T>& a, SketchOptions o,
                     const std::optional<py::array>& scale) {
    std::optional<Rows<T>> factors;
    if (scale) {
        factors = Rows<T>(*scale);
        FASTOPT_REQUIRE(factors->size() == a.rows, "scale must have one entry per row");
    }
    FASTOPT_REQUIRE(o.size >= 1, "size must be at least 1, got " + std::to_string(o.size));
    Buffer<T> result;
    {
        const T* s = factors ? factors->data() : nullptr;
        PyMonitor signals{py::object()};
        const py::gil_scoped_release nogil;
        const ScopedPoll poll([&] { signals.poll(); });
        const Input<T> scales(a.queue, s, s ? a.rows : 0);
        const Array<T> out(a.queue, checked_product(o.size, a.cols));
        sketch<T>(a.queue, a, scales.data(), o, out.data());
        result = out.take();
    }
    return share(result, {o.size, a.cols});
}

// ---- the user's functions ---------------------------------------------------------------------

class ProductCurvature final : public Curvature {
  public:
    ProductCurvature(py::function fn, index_t n) : fn_(std::move(fn)), n_(n) {}
    ~ProductCurvature() override {
        const py::gil_scoped_acquire gil;
        fn_ = py::function();
    }
    void multiply(const double* v, double* out) const override {
        const py::gil_scoped_acquire gil;
        const auto answer = fn_(copy_of(v, n_)).cast<Rows<double>>();
        FASTOPT_REQUIRE(answer.size() == n_, "a product with the Hessian must have n entries");
        std::copy(answer.data(), answer.data() + n_, out);
    }

  private:
    py::function fn_;
    index_t n_;
};

// A WeightedGram and the arrays it lies on.
class PyGramCurvature final : public GramCurvature {
  public:
    PyGramCurvature(const Gram& gram, int threads, py::object keep)
        : GramCurvature(gram, threads), keep_(std::move(keep)) {}
    ~PyGramCurvature() override {
        const py::gil_scoped_acquire gil;
        keep_ = py::object();
    }

  private:
    py::object keep_;
};

// functions.fun(x), .grad(x), .cons(x), .jac(x), .hess(x, sigma, l), .nfev
class PyFunctions final : public NewtonFunctions {
  public:
    PyFunctions(py::object functions, index_t n, index_t m, int threads)
        : functions_(std::move(functions)), n_(n), m_(m), threads_(threads) {}
    ~PyFunctions() override {
        const py::gil_scoped_acquire gil;
        functions_ = py::object();
    }

    double value(const double* x) override {
        const py::gil_scoped_acquire gil;
        return functions_.attr("fun")(copy_of(x, n_)).cast<double>();
    }
    void gradient(const double* x, double* g) override { fill("grad", x, g, n_); }
    void constraints(const double* x, double* c) override { fill("cons", x, c, m_); }
    void jacobian(const double* x, double* j) override { fill("jac", x, j, m_ * n_); }

    std::shared_ptr<const Curvature> curvature(const double* x, double sigma,
                                               const double* l) override {
        const py::gil_scoped_acquire gil;
        const py::object w = functions_.attr("hess")(copy_of(x, n_), sigma, copy_of(l, m_));
        if (py::isinstance<py::array>(w)) {
            const auto rows = w.cast<Rows<double>>();
            FASTOPT_REQUIRE(rows.size() == n_ * n_, "the Hessian must be n x n");
            Buffer<double> copy(n_ * n_);
            std::copy(rows.data(), rows.data() + n_ * n_, copy.data());
            return std::make_shared<DenseCurvature>(n_, copy);
        }
        if (py::isinstance<py::tuple>(w)) return gram(w.cast<py::tuple>());
        return std::make_shared<ProductCurvature>(w.cast<py::function>(), n_);
    }

    index_t evaluations() const override {
        const py::gil_scoped_acquire gil;
        return functions_.attr("nfev").cast<index_t>();
    }

  private:
    std::shared_ptr<const Curvature> gram(const py::tuple& parts) const { // (A, w, R)
        Gram q;
        q.a = in_double(*parts[0].cast<std::shared_ptr<PyMatrix>>());
        const auto w = parts[1].cast<Rows<double>>(), r = parts[2].cast<Rows<double>>();
        FASTOPT_REQUIRE(q.a.cols == n_ && w.size() == q.a.rows,
                        "WeightedGram: the shapes do not fit");
        q.w = w.data();
        if (r.size() == 1 && r.ndim() == 0)
            q.scalar = *r.data();
        else if (r.size() == n_ && r.ndim() == 1)
            q.diagonal = r.data();
        else {
            FASTOPT_REQUIRE(r.size() == n_ * n_, "WeightedGram: R does not fit");
            q.dense = r.data();
        }
        return std::make_shared<PyGramCurvature>(q, threads_, py::make_tuple(parts[0], w, r));
    }

    void fill(const char* name, const double* x, double* out, index_t size) {
        const py::gil_scoped_acquire gil;
        const auto answer = functions_.attr(name)(copy_of(x, n_)).cast<Rows<double>>();
        FASTOPT_REQUIRE(answer.size() == size, std::string(name) + " returned a wrong size");
        std::copy(answer.data(), answer.data() + size, out);
    }

    py::object functions_;
    index_t n_, m_;
    int threads_;
};

py::dict record_dict(const NewtonRecord& r) {
    using namespace pybind11::literals;
    return py::dict("nit"_a = r.nit, "nfev"_a = r.nfev, "fun"_a = r.fun,
                    "constr_violation"_a = r.constr_violation, "optimality"_a = r.optimality,
                    "step"_a = r.step, "seconds"_a = r.seconds, "shift"_a = r.shift,
                    "inner_iterations"_a = r.inner_iterations, "sketch_rows"_a = r.sketch_rows);
}

class PyNewtonMonitor final : public NewtonMonitor {
  public:
    explicit PyNewtonMonitor(const py::object& fn) : fn_(fn), signals_(py::object()) {}
    ~PyNewtonMonitor() override {
        const py::gil_scoped_acquire gil;
        fn_ = py::object();
    }
    bool stop(const NewtonRecord& r) override {
        const py::gil_scoped_acquire gil;
        if (fn_.is_none()) return false;
        py::dict record = record_dict(r);
        record["x"] = copy_of(*r.x);
        return py::bool_(fn_(record));
    }
    void poll() override { signals_.poll(); }

  private:
    py::object fn_;
    PyMonitor signals_;
};

py::dict run_newton(const py::object& functions, const Rows<double>& x0, index_t m,
                    const py::dict& given, const py::object& monitor, const PyQueue* queue) {
    NewtonOptions o;
    o.kkt.queue = queue ? queue->queue : make_queue();
    const auto get = [&](const char* name) { return py::object(given[name]); };
    o.kkt.linear_solver =
        read_word("linear_solver", get("linear_solver").cast<std::string>(), solver_words);
    o.kkt.sketch = read_word("sketch", get("sketch").cast<std::string>(), kind_words);
    o.kkt.sketch_size = get("sketch_size").cast<index_t>();
    o.kkt.key = {get("key0").cast<std::uint32_t>(), get("key1").cast<std::uint32_t>()};
    o.kkt.threads = get("threads").cast<int>();
    o.globalisation =
        read_word("globalisation", get("globalisation").cast<std::string>(), globalisation_words);
    o.tol = get("tol").cast<double>();
    o.maxiter = get("maxiter").cast<index_t>(), o.maxfev = get("maxfev").cast<index_t>();
    o.maxtime = get("maxtime").cast<double>();
    o.scale = get("scale").cast<bool>(), o.record_history = get("record_history").cast<bool>();
    o.second_order = get("second_order").cast<bool>();
    std::unique_ptr<PyCommunicator> ranks;
    if (!get("ranks").is_none()) ranks = std::make_unique<PyCommunicator>(get("ranks"));
    o.comm = ranks.get();

    PyFunctions problem(functions, x0.size(), m, o.kkt.threads);
    PyNewtonMonitor watch(monitor);
    const std::vector<double> start = vector_of(x0);
    NewtonResult r;
    {
        const py::gil_scoped_release nogil;
        r = solve_newton(problem, watch, start, m, o);
    }
    using namespace pybind11::literals;
    py::list history;
    for (const NewtonRecord& one : r.history) history.append(record_dict(one));
    const auto jacobian = copy_of(r.jacobian);
    return py::dict("x"_a = copy_of(r.x), "l"_a = copy_of(r.l), "gradient"_a = copy_of(r.gradient),
                    "c"_a = copy_of(r.c), "jacobian"_a = jacobian, "fun"_a = r.fun,
                    "optimality"_a = r.optimality, "constr_violation"_a = r.constr_violation,
                    "kkt_residual"_a = r.kkt_residual, "nit"_a = r.nit,
                    "n_restorations"_a = r.n_restorations, "eta1"_a = r.eta1, "eta2"_a = r.eta2,
                    "shift"_a = r.shift, "filter"_a = r.filter, "linear_solver"_a = r.linear_solver,
                    "reason"_a = r.reason, "inner_iterations"_a = r.inner_iterations,
                    "sketch_rows"_a = r.sketch_rows, "n_sketches"_a = r.n_sketches,
                    "singular"_a = r.singular, "code"_a = code(r.status),
                    "success"_a = success(r.status), "unbounded"_a = r.status == Status::unbounded,
                    "maxiter"_a = r.status == Status::maxiter,
                    "maxtime"_a = r.status == Status::maxtime, "history"_a = history);
}

// ---- generalised linear models ----------------------------------------------------------------

class PyGlm {
  public:
    PyGlm(std::shared_ptr<PyMatrix> a, const Rows<double>& y,
          const std::optional<Rows<double>>& weight, const std::string& family, double l2,
          double factor, int threads)
        : a_(std::move(a)), n_(a_->cols()),
          glm_(in_double(*a_), vector_of(y), weight ? vector_of(*weight) : std::vector<double>(),
               read_word("family", family, family_words), l2, factor, threads) {
        FASTOPT_REQUIRE(y.size() == a_->rows() && (!weight || weight->size() == y.size()),
                        "y and sample_weight must have one entry per row of A");
    }
    double value(const Rows<double>& x) {
        const double* at = checked(x);
        const py::gil_scoped_release nogil;
        const std::lock_guard<std::mutex> lock(mutex_);
        return glm_.value(at);
    }
    py::array gradient(const Rows<double>& x) {
        const double* at = checked(x);
        py::array_t<double> out(n_);
        double* to = out.mutable_data();
        {
            const py::gil_scoped_release nogil;
            const std::lock_guard<std::mutex> lock(mutex_);
            glm_.gradient(at, to);
        }
        return out;
    }
    py::array weights(const Rows<double>& x) {
        const double* at = checked(x);
        py::array_t<double> out(a_->rows());
        double* to = out.mutable_data();
        {
            const py::gil_scoped_release nogil;
            const std::lock_guard<std::mutex> lock(mutex_);
            const double* w = glm_.weights(at);
            std::copy(w, w + a_->rows(), to);
        }
        return out;
    }

  private:
    const double* checked(const Rows<double>& x) const {
        FASTOPT_REQUIRE(x.size() == n_, "x must have " + std::to_string(n_) + " entries, got " +
                                            std::to_string(x.size()));
        return x.data();
    }
    std::shared_ptr<PyMatrix> a_;
    index_t n_;
    Glm glm_;
    std::mutex mutex_;
};

} // namespace

void bind_sketch_newton(py::module_& m) {
    using namespace pybind11::literals;

    // Local to the module: that of another backend has classes of the same names.
    py::class_<PyQueue>(m, "Queue", py::module_local()).def(py::init<>());
    py::class_<PyMatrix, std::shared_ptr<PyMatrix>>(m, "Matrix", py::module_local())
        .def(py::init(&dense_matrix), "A"_a, "queue"_a = nullptr)
        .def(py::init(&csr_matrix), "data"_a, "indices"_a, "indptr"_a, "cols"_a,
             "queue"_a = nullptr)
        .def("join_ranks", &join_ranks, "ranks"_a)
        .def_property_readonly("shape",
                               [](const PyMatrix& a) { return py::make_tuple(a.rows(), a.cols()); })
        .def(
            "sketch",
            [](const PyMatrix& a, index_t size, const std::string& kind, index_t nonzeros,
               std::uint32_t k0, std::uint32_t k1, int threads,
               const std::optional<py::array>& scale,
               const std::optional<Rows<double>>& probabilities) {
                SketchArguments s = sketch_arguments(a.rows(), size, kind, nonzeros, k0, k1,
                                                     threads, probabilities);
                if (probabilities) s.o.probabilities = s.probabilities.data();
                return a.single ? run_sketch(a.f32, s.o, scale) : run_sketch(a.f64, s.o, scale);
            },
            "size"_a, "kind"_a, "nonzeros"_a, "key0"_a, "key1"_a, "threads"_a = 0,
            "scale"_a = py::none(), "probabilities"_a = py::none())
        .def(
            "row_probabilities",
            [](const PyMatrix& a, std::uint32_t k0, std::uint32_t k1, int threads) {
                SketchOptions o;
                o.key = {k0, k1}, o.threads = threads;
                a.require_host();
                std::vector<double> p;
                PyMonitor signals{py::object()};
                {
                    const py::gil_scoped_release nogil;
                    const ScopedPoll poll([&] { signals.poll(); });
                    p = a.single ? row_probabilities<float>(a.f32, nullptr, o)
                                 : row_probabilities<double>(a.f64, nullptr, o);
                }
                return copy_of(p);
            },
            "key0"_a, "key1"_a, "threads"_a = 0)
        .def(
            "gram",
            [](const PyMatrix& a, const Rows<double>& w, int threads) {
                const DataMatrix<double>& d = in_double(a);
                FASTOPT_REQUIRE(w.size() == d.rows, "w must have one entry per row of A");
                const Buffer<double> g(checked_product(d.cols, d.cols));
                const double* weights = w.data();
                {
                    const py::gil_scoped_release nogil;
                    weighted_gram(d, weights, g.data(), threads);
                    for (index_t i = 0; i < d.cols; ++i)
                        for (index_t j = 0; j < i; ++j) g[j * d.cols + i] = g[i * d.cols + j];
                }
                return share(g, {d.cols, d.cols});
            },
            "w"_a, "threads"_a = 0)
        .def(
            "multiply_gram",
            [](const PyMatrix& a, const Rows<double>& w, const Rows<double>& v, int threads) {
                const DataMatrix<double>& d = in_double(a);
                FASTOPT_REQUIRE(w.size() == d.rows && v.size() == d.cols,
                                "w and v must have one entry per row and column of A");
                py::array_t<double> out(d.cols);
                double* to = out.mutable_data();
                const double *weights = w.data(), *from = v.data();
                {
                    const py::gil_scoped_release nogil;
                    multiply_gram(d, weights, from, to, threads);
                }
                return out;
            },
            "w"_a, "v"_a, "threads"_a = 0);

    m.def(
        "sketch_adjoint",
        [](index_t n, const Rows<double>& y, const std::string& kind, index_t nonzeros,
           std::uint32_t k0, std::uint32_t k1, const std::optional<Rows<double>>& probabilities) {
            FASTOPT_REQUIRE(y.ndim() == 2, "y must have two dimensions");
            SketchArguments s =
                sketch_arguments(n, y.shape(0), kind, nonzeros, k0, k1, 0, probabilities);
            if (probabilities) s.o.probabilities = s.probabilities.data();
            const Buffer<double> out(checked_product(n, y.shape(1)));
            sketch_adjoint(n, y.data(), y.shape(1), s.o, out.data());
            return share(out, {n, y.shape(1)});
        },
        "n"_a, "y"_a, "kind"_a, "nonzeros"_a, "key0"_a, "key1"_a, "probabilities"_a = py::none());

    m.def(
        "lstsq",
        [](const PyMatrix& a, const Rows<double>& b, const std::string& kind, index_t size,
           index_t nonzeros, double rcond, index_t maxiter, std::uint32_t k0, std::uint32_t k1,
           int threads) {
            const DataMatrix<double>& d = in_double(a);
            FASTOPT_REQUIRE(b.ndim() == 2 && b.shape(1) == d.rows,
                            "b must have one entry per row of A");
            LeastSquaresOptions o;
            o.sketch.kind = read_word("sketch", kind, kind_words);
            o.sketch.size = size, o.sketch.nonzeros = nonzeros, o.sketch.key = {k0, k1};
            o.sketch.threads = threads, o.rcond = rcond, o.maxiter = maxiter;
            PyMonitor signals{py::object()};
            std::vector<LeastSquares> results;
            {
                const double* right = b.data();
                const index_t count = b.shape(0);
                const py::gil_scoped_release nogil;
                const ScopedPoll poll([&] { signals.poll(); });
                const LeastSquaresSolver solver(d, o);
                for (index_t k = 0; k < count; ++k)
                    results.push_back(solver.solve(right + k * d.rows));
            }
            py::list out;
            for (const LeastSquares& r : results)
                out.append(py::dict("x"_a = copy_of(r.x), "residual"_a = r.residual,
                                    "gradient"_a = r.gradient, "nit"_a = r.iterations,
                                    "rank"_a = r.rank, "sketch_rows"_a = r.sketch_rows,
                                    "converged"_a = r.converged));
            return out;
        },
        "A"_a, "b"_a, "sketch"_a, "sketch_size"_a, "nonzeros"_a, "rcond"_a, "maxiter"_a, "key0"_a,
        "key1"_a, "threads"_a);

    py::class_<PyGlm, std::shared_ptr<PyGlm>>(m, "Glm", py::module_local())
        .def(
            py::init<std::shared_ptr<PyMatrix>, const Rows<double>&,
                     const std::optional<Rows<double>>&, const std::string&, double, double, int>(),
            "A"_a, "y"_a, "sample_weight"_a, "family"_a, "l2"_a, "factor"_a, "threads"_a)
        .def("value", &PyGlm::value, "x"_a)
        .def("gradient", &PyGlm::gradient, "x"_a)
        .def("weights", &PyGlm::weights, "x"_a);

    m.def("sketch_newton", &run_newton, "functions"_a, "x0"_a, "m"_a, "options"_a,
          "monitor"_a = py::none(), "queue"_a = nullptr);
}

} // namespace fastopt
