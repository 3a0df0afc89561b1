// Arrays that live where the CUDA backend's kernels run, exchanged by the protocol of the array
// API's standard: capsules named "dltensor", which every library gives and takes where no version
// of DLPack is agreed upon. Streams wait for one another; the host waits for none.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/exchange.hpp"
#include "bindings/arrays.hpp"
#include "core/error.hpp"

namespace fastopt {

namespace dlpack { // the ABI of dlpack.h, as much of it as is used

constexpr std::int32_t cuda = 2;         // kDLCUDA
constexpr std::uint8_t real_numbers = 2; // kDLFloat

struct Device {
    std::int32_t type, ordinal;
};
struct Type {
    std::uint8_t code, bits;
    std::uint16_t lanes;
};
struct Tensor {
    void* data;
    Device device;
    std::int32_t ndim;
    Type type;
    std::int64_t *shape, *strides; // strides count numbers; nullptr: by rows
    std::uint64_t byte_offset;
};
struct Managed {
    Tensor tensor;
    void* context;
    void (*deleter)(Managed*);
};

} // namespace dlpack

// Memory of the device that other libraries may hold. Nobody says in which stream they used it
// last, so whoever frees what was lent waits for the device.
struct LentMemory {
    LentMemory(const std::shared_ptr<Queue>& q, index_t n, std::size_t size)
        : queue(q), data(queue_allocate(*q, n, size), [q](void* p) { queue_release(*q, p); }) {}
    ~LentMemory() {
        if (lent) wait_for_device(*queue);
    }
    LentMemory(const LentMemory&) = delete;
    LentMemory& operator=(const LentMemory&) = delete;

    std::shared_ptr<Queue> queue;
    std::shared_ptr<void> data;
    std::atomic<bool> lent{false};
};

// An array by rows, of float64 or float32 (`single`), as Python holds it.
struct DeviceArray {
    std::shared_ptr<LentMemory> memory;
    std::vector<index_t> shape;
    bool single = false;

    py::tuple device() const;
    py::capsule lend(const py::object& stream, const py::object& device, const py::object& copy);
};

DeviceArray on_device(const std::shared_ptr<Queue>& queue, const py::array& array);

// An array of another library, taken until this is destroyed: its memory goes back once the queue
// has read it. `what` names it in errors.
class TakenArray {
  public:
    TakenArray(const std::shared_ptr<Queue>& queue, const std::string& what, const py::object& x);
    ~TakenArray();
    TakenArray(const TakenArray&) = delete;
    TakenArray& operator=(const TakenArray&) = delete;

    std::vector<py::ssize_t> shape() const;
    index_t size() const { return checked_product(rows_, cols_); }
    bool single() const { return tensor().type.bits == 32; }
    // to: size() numbers of the device, by rows; float for single() only.
    template <class T> void copy_to(T* to);
    // The numbers themselves, of their type, where they lie by rows; else nullptr. Whoever asks may
    // read them for as long as this lives, which ends with a wait for the device.
    template <class T> const T* rows();
    py::array fetch(); // of the type that they have

  private:
    struct Release {
        void operator()(dlpack::Managed* m) const {
            if (m->deleter) m->deleter(m);
        }
    };
    const dlpack::Tensor& tensor() const { return taken_->tensor; }
    void check(const std::string& what) const;
    bool by_rows() const { return col_stride_ == 1 && row_stride_ == cols_; }
    template <class T> Strided<T> view() const;
    template <class T> py::array fetch_as();

    std::shared_ptr<Queue> queue_;
    std::unique_ptr<dlpack::Managed, Release> taken_;
    index_t rows_ = 1, cols_ = 1, row_stride_ = 0, col_stride_ = 1;
    Moment read_; // when the queue has read it
    bool reading_ = false;
};

} // namespace fastopt
