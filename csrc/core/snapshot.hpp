// What a run must remember to go on with the same bits, as named arrays of numbers.
//
// A class lists its state once, in `template <class Archive> void visit(Archive& a)`, by calls
// a("name", field); Save and Load are the two archives. Parts of a run are kept apart by a prefix
// of their names. Single precision survives the way through double unharmed.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/buffer.hpp"
#include "core/error.hpp"
#include "core/types.hpp"

namespace fastopt {

struct Snapshot {
    std::map<std::string, std::vector<double>> reals;
    std::map<std::string, std::vector<std::int64_t>> integers;
};

class Save {
  public:
    explicit Save(Snapshot& out, std::string prefix = "") : out_(out), prefix_(std::move(prefix)) {}

    void operator()(const std::string& name, const double& field) {
        out_.reals[prefix_ + name] = {field};
    }
    void operator()(const std::string& name, const std::vector<double>& field) {
        out_.reals[prefix_ + name] = field;
    }
    template <class T> void operator()(const std::string& name, const Buffer<T>& field) {
        out_.reals[prefix_ + name].assign(field.data(), field.data() + field.size());
    }
    // An array that lives elsewhere: backend/queue.hpp.
    template <class A>
    auto operator()(const std::string& name, const A& field) -> decltype(void(field.fetch())) {
        const auto* numbers = field.fetch();
        out_.reals[prefix_ + name].assign(numbers, numbers + field.size());
    }
    void operator()(const std::string& name, const std::vector<index_t>& field) {
        out_.integers[prefix_ + name] = field;
    }
    template <class I, class = std::enable_if_t<std::is_integral_v<I> || std::is_enum_v<I>>>
    void operator()(const std::string& name, const I& field) {
        out_.integers[prefix_ + name] = {static_cast<std::int64_t>(field)};
    }

  private:
    Snapshot& out_;
    std::string prefix_;
};

// Throws std::invalid_argument where a name is missing or a fixed-size array has another length.
class Load {
  public:
    explicit Load(const Snapshot& in, std::string prefix = "")
        : in_(in), prefix_(std::move(prefix)) {}

    void operator()(const std::string& name, double& field) {
        field = one(find(in_.reals, name), name);
    }
    void operator()(const std::string& name, std::vector<double>& field) {
        field = find(in_.reals, name);
    }
    template <class T> void operator()(const std::string& name, Buffer<T>& field) {
        const std::vector<double>& stored = fixed(name, field.size());
        for (index_t i = 0; i < field.size(); ++i)
            field[i] = static_cast<T>(stored[static_cast<std::size_t>(i)]);
    }
    template <class A>
    auto operator()(const std::string& name, A& field) -> decltype(field.send()) {
        using T = std::decay_t<decltype(*field.mirror())>;
        const std::vector<double>& stored = fixed(name, field.size());
        std::transform(stored.begin(), stored.end(), field.mirror(),
                       [](double value) { return static_cast<T>(value); });
        field.send();
    }
    void operator()(const std::string& name, std::vector<index_t>& field) {
        field = find(in_.integers, name);
    }
    template <class I, class = std::enable_if_t<std::is_integral_v<I> || std::is_enum_v<I>>>
    void operator()(const std::string& name, I& field) {
        field = static_cast<I>(one(find(in_.integers, name), name));
    }

    // For what must hold between fields: a file may hold anything.
    static void require(bool holds, const char* what) {
        FASTOPT_REQUIRE(holds, std::string("the saved state is damaged: ") + what);
    }
    static bool counts(std::int64_t k) { return k >= 0 && k < std::int64_t{1} << 53; }
    template <class V> static bool has(const V& values, index_t size) {
        return static_cast<index_t>(values.size()) == size;
    }

  private:
    const std::vector<double>& fixed(const std::string& name, index_t size) const {
        const std::vector<double>& stored = find(in_.reals, name);
        FASTOPT_REQUIRE(static_cast<index_t>(stored.size()) == size,
                        "the saved state does not fit this problem: array '" + name + "' has " +
                            std::to_string(stored.size()) + " numbers, expected " +
                            std::to_string(size));
        return stored;
    }
    template <class Map>
    const typename Map::mapped_type& find(const Map& map, const std::string& name) const {
        const auto it = map.find(prefix_ + name);
        FASTOPT_REQUIRE(it != map.end(), "the saved state lacks '" + prefix_ + name + "'");
        return it->second;
    }
    template <class V> static typename V::value_type one(const V& v, const std::string& name) {
        FASTOPT_REQUIRE(v.size() == 1, "the saved state's '" + name + "' is not a single number");
        return v[0];
    }

    const Snapshot& in_;
    std::string prefix_;
};

} // namespace fastopt
