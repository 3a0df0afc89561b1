#include "cbo/objectives.hpp"

#include "core/error.hpp"

namespace fastopt {

ObjectiveId objective_id(const std::string& name, index_t d) {
    std::string known;
    for (const ObjectiveInfo& info : objective_table) {
        known += (known.empty() ? "'" : ", '") + std::string(info.name) + "'";
        if (name != info.name) continue;
        const bool fits = d >= info.min_dim && (info.max_dim == 0 || d <= info.max_dim);
        FASTOPT_REQUIRE(fits, "dim: '" + name + "' needs " +
                                  (info.max_dim == info.min_dim ? "exactly " : "at least ") +
                                  std::to_string(info.min_dim) + " coordinates, got " +
                                  std::to_string(d) + "; choose another dimension.");
        return info.id;
    }
    throw std::invalid_argument("name: expected one of " + known + ", got '" + name + "'.");
}

} // namespace fastopt
