// The Python module igr.field._core: checks every array once, then computes without the interpreter's lock.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <limits>

#include "core.h"
#include "residual.h"

namespace nb = nanobind;
using igr::Core;
using Array = nb::ndarray<nb::ro>;
using OutArray = nb::ndarray<>;
using View = nb::ndarray<nb::numpy, float>;

namespace {

std::string describe(size_t dimensions, const int64_t* shape) {
  std::string text = "(";
  for (size_t i = 0; i < dimensions; i++)
    text += (i ? ", " : "") + (shape[i] < 0 ? std::string("n") : std::to_string(shape[i]));
  return text + (dimensions == 1 ? ",)" : ")");
}

// The array's floats, after checking that it is float32, in C order and of this shape (-1: any length).
template <class AnyArray>
auto checked(const AnyArray& array, const char* name, std::initializer_list<int64_t> shape) {
  bool fits = array.dtype() == nb::dtype<float>() && array.device_type() == nb::device::cpu::value &&
              array.ndim() == shape.size();
  int64_t step = 1;
  for (size_t i = shape.size(); fits && i-- > 0;) {
    const int64_t wanted = shape.begin()[i], length = int64_t(array.shape(i));
    fits = (wanted < 0 || wanted == length) && (length <= 1 || array.size() == 0 || array.stride(i) == step);
    step *= length;
  }
  if (!fits) {
    std::vector<int64_t> came(array.ndim());
    for (size_t i = 0; i < array.ndim(); i++) came[i] = int64_t(array.shape(i));
    const bool is_float = array.dtype() == nb::dtype<float>();
    throw nb::value_error((std::string(name) + " must be a float32 array in C order of shape " +
                           describe(shape.size(), shape.begin()) + ", not " +
                           (is_float ? "" : "of another type, ") + "of shape " +
                           describe(came.size(), came.data()))
                              .c_str());
  }
  if constexpr (std::is_same_v<AnyArray, Array>)
    return static_cast<const float*>(array.data());
  else
    return static_cast<float*>(array.data());
}

Core* make_core(int dimension, const std::vector<std::tuple<int64_t, int64_t, int64_t, bool>>& levels,
                int features, int width, float beta, float bound, int threads,
                const std::string& instruction_set) {
  igr::Shape shape{dimension, features, width, threads, beta, bound, {}};
  if (dimension != 2 && dimension != 3) throw nb::value_error("dimension must be 2 or 3");
  if (threads < 1) throw nb::value_error("threads must be at least 1");
  if (!(beta > 0) || !(bound > 0)) throw nb::value_error("beta and bound must be positive");
  for (const auto& [resolution, rows, offset, hashed] : levels) {
    double corners = 1;
    for (int a = 0; a < dimension; a++) corners *= double(resolution + 1);
    const bool fits = resolution >= 1 && resolution < (1 << 20) && rows >= 1 && offset >= 0 &&
                      rows <= std::numeric_limits<int32_t>::max() && offset <= (int64_t(1) << 40);
    if (!fits || (hashed ? (rows & (rows - 1)) != 0 : double(rows) < corners))
      throw nb::value_error(
          "a level needs resolution, rows >= 1 and offset >= 0; hashed rows must be a power of two, others "
          "(resolution + 1)^dimension");
    shape.levels.push_back({int32_t(resolution), int32_t(rows), offset, hashed, 1.f});
  }
  return new Core(shape, instruction_set);
}

// Views of every parameter in one of the core's flat arrays; they keep the core alive.
nb::dict views(nb::handle self, const igr::Floats& flat) {
  nb::dict named;
  for (const igr::Place& place : nb::cast<Core&>(self).places()) {
    const size_t shape[2] = {size_t(place.rows), size_t(place.columns)};
    named[place.name] = View(flat.data() + place.offset, place.columns ? 2 : 1, shape, self);
  }
  return named;
}

int64_t points(const Core& core, const Array& x) {
  checked(x, "x", {-1, core.shape().dimension});
  return int64_t(x.shape(0));
}

// Of each grid: cells along an edge, where its bricks are, and their values; `igr.field.residual` has checked
// them.
using Whole = nb::ndarray<const int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Numbers = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
void add_residual(const std::vector<std::tuple<int, Whole, Numbers>>& grids, float bound, int threads,
                  const Array& x, const OutArray& f, std::optional<OutArray> g) {
  if (x.ndim() != 2 || (x.shape(1) != 2 && x.shape(1) != 3))
    throw nb::value_error("x must be points (n, 2) or (n, 3)");
  if (threads < 1) throw nb::value_error("threads must be at least 1");
  const int64_t n = int64_t(x.shape(0)), dimension = int64_t(x.shape(1));
  std::vector<igr::Bricks> all;
  for (const auto& [resolution, bricks, values] : grids) {
    const int64_t edge = resolution / igr::kBrick + 1;
    if (resolution < 1 || int64_t(bricks.size()) != (dimension == 3 ? edge * edge * edge : edge * edge))
      throw nb::value_error("a grid needs a brick for every kBrick corners along each axis");
    all.push_back({resolution, edge, bricks.data(), values.data()});
  }
  const auto from = checked(x, "x", {n, dimension});
  float* value = checked(f, "f", {n});
  float* slope = g ? checked(*g, "g", {n, dimension}) : nullptr;
  const nb::gil_scoped_release release;
  igr::add_residual(all, int(dimension), bound, threads, from, n, value, slope);
}

// The vector's numbers as an array that keeps them.
template <class Number>
nb::ndarray<nb::numpy, Number> owned(std::vector<Number>&& numbers) {
  auto* kept = new std::vector<Number>(std::move(numbers));
  const nb::capsule owner(kept, [](void* data) noexcept { delete static_cast<std::vector<Number>*>(data); });
  return nb::ndarray<nb::numpy, Number>(kept->data(), {kept->size()}, owner);
}

auto fit_grid(const Array& x, const Array& turned, const OutArray& height, const OutArray& slope, int resolution,
              float bound, float stiff, int rounds) {
  if (resolution < 1 || resolution >= 1 << 12 || !(bound > 0) || !(stiff > 0))
    throw nb::value_error("resolution must be 1 to 4095, bound and stiff positive");
  const auto from = checked(x, "x", {-1, 3});
  const auto n = int64_t(x.shape(0));
  const auto counts = checked(turned, "turned", {n});
  float *left = checked(height, "height", {n}), *steep = checked(slope, "slope", {n, 3});
  igr::FittedGrid found;
  {
    const nb::gil_scoped_release release;
    found = igr::fit_grid(from, n, counts, left, steep, resolution, bound, stiff, rounds);
  }
  return std::make_tuple(owned(std::move(found.corners)), owned(std::move(found.values)));
}

}  // namespace

NB_MODULE(_core, m) {
  m.def("instruction_sets", &igr::instruction_sets);
  m.def("peak_rate", &igr::peak_rate, nb::call_guard<nb::gil_scoped_release>());
  m.def("add_residual", &add_residual, nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg().none());
  m.def("fit_grid", &fit_grid);
  nb::class_<Core>(m, "Core")
      .def(nb::new_(&make_core))
      .def("values", [](nb::handle self) { return views(self, nb::cast<Core&>(self).values); })
      .def("first", [](nb::handle self) { return views(self, nb::cast<Core&>(self).moments().first); })
      .def("second", [](nb::handle self) { return views(self, nb::cast<Core&>(self).moments().second); })
      .def("gradient", [](nb::handle self) { return views(self, nb::cast<Core&>(self).gradient()); })
      .def_prop_rw("step_count", &Core::step_count, &Core::set_step_count)
      .def_prop_ro("instruction_set", &Core::instruction_set)
      .def("level_weights", &Core::level_weights)
      .def("set_level_weights",
           [](Core& core, const Array& weights) {
             core.set_level_weights(checked(weights, "level_weights", {int64_t(core.shape().levels.size())}));
           })
      .def("phase_seconds",
           [](const Core& core) {
             const auto seconds = core.phase_seconds();
             return std::vector<double>(seconds.begin(), seconds.end());
           })
      .def("forward",
           [](Core& core, const Array& x, const OutArray& f, const OutArray& g) {
             const int64_t n = points(core, x);
             const auto from = checked(x, "x", {n, core.shape().dimension});
             float *value = checked(f, "f", {n}), *slope = checked(g, "g", {n, core.shape().dimension});
             const nb::gil_scoped_release release;
             core.forward(from, n, value, slope);
           })
      .def("backward",
           [](Core& core, const Array& df, const Array& dg) {
             const auto value = checked(df, "df", {-1}), slope = checked(dg, "dg", {-1, core.shape().dimension});
             const nb::gil_scoped_release release;
             core.backward(value, int64_t(df.shape(0)), slope, int64_t(dg.shape(0)));
           })
      .def("adam", &Core::adam, nb::call_guard<nb::gil_scoped_release>())
      .def(
          "evaluate",
          [](Core& core, const Array& x, const OutArray& f, std::optional<OutArray> g) {
            const int64_t n = points(core, x);
            const auto from = checked(x, "x", {n, core.shape().dimension});
            float* value = checked(f, "f", {n});
            float* slope = g ? checked(*g, "g", {n, core.shape().dimension}) : nullptr;
            const nb::gil_scoped_release release;
            core.evaluate(from, n, value, slope);
          },
          nb::arg(), nb::arg(), nb::arg().none());
}
