#include "core.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>
#include <stdexcept>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace igr {

namespace {

constexpr int kAlign = 16;        // floats; parameters start and end at whole vectors of every instruction set
constexpr int64_t kGroups = 64;   // into which a batch's tiles are divided, at most: a group's sums are one task's
constexpr int64_t kAdamTask = 1 << 14;      // floats
constexpr size_t kLargePage = size_t(1) << 21;  // bytes

int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

}  // namespace

Floats::Floats(int64_t size) : size_(size) {
  const size_t bytes = size_t(round_up(size, kAlign)) * sizeof(float);
  const size_t align = bytes >= kLargePage ? kLargePage : 64;
  data_ = {static_cast<float*>(::operator new[](bytes, std::align_val_t(align))), Free{align}};
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  if (align == kLargePage) madvise(data_.get(), bytes, MADV_HUGEPAGE);  // only advice: failure does no harm
#endif
  memset(data_.get(), 0, bytes);
}

Core::Core(const Shape& shape, const std::string& instruction_set)
    : shape_(shape),
      instruction_set_(instruction_set == "auto" ? instruction_sets().back() : instruction_set),
      kernels_{},
      network_{},
      pool_(shape.threads) {
  if (!find_kernels(instruction_set_)(kernels_, shape.dimension, shape.features, shape.width))
    throw std::invalid_argument("dimension must be 2 or 3, features 1, 2 or 4, and width 32 or 64");
  const int d = shape.dimension, width = shape.width, inputs = d + int(shape.levels.size()) * shape.features;
  if (inputs > kernels_.max_inputs)
    throw std::invalid_argument("too many levels: coordinates and features must be at most " +
                                std::to_string(kernels_.max_inputs));
  int64_t rows = 0;
  for (const Level& level : shape.levels) rows = std::max(rows, level.offset + level.rows);
  int64_t end = 0;
  const auto place = [&](const char* name, int64_t r, int64_t c) {
    places_.push_back({name, end, r, c});
    end += round_up(r * std::max<int64_t>(c, 1), kAlign);
    return places_.back().offset;
  };
  const int64_t weight1 = place("weight1", width, inputs), bias1 = place("bias1", width, 0);
  const int64_t weight2 = place("weight2", width, width), bias2 = place("bias2", width, 0);
  const int64_t weight3 = place("weight3", width, 0), bias3 = place("bias3", 1, 0);
  table_start_ = place("table", rows, shape.features);
  for (Floats* array : {&values, &first, &second, &gradient}) *array = Floats(end);
  const float* start = values.data();
  network_ = {d,           inputs,          inputs,          width,           shape.beta,     start + weight1,
              start + bias1, start + weight2, start + bias2, start + weight3, start + bias3};
  sums_floats_ = round_up(int64_t(inputs) * width + width * width + 3 * width + 1, kAlign);
  tile_floats_ = int64_t(kTile) * (3 * inputs + d * (inputs - d) + 5 * width + d);
  touched_.assign(shape.levels.size(), 0);
  for (int i = 0; i < pool_.threads(); i++) {
    workers_.push_back(std::make_unique<Worker>());
    workers_.back()->scratch = Floats(kernels_.scratch);
    workers_.back()->tile = Floats(tile_floats_);
  }
}

void Core::set_level_weights(const float* weights) {
  const std::lock_guard<std::mutex> lock(mutex_);
  network_.used = shape_.dimension;
  for (size_t i = 0; i < shape_.levels.size(); i++) {
    if (shape_.levels[i].weight != weights[i]) pending_ = -1;
    shape_.levels[i].weight = weights[i];
    if (weights[i] != 0) network_.used = shape_.dimension + int(i + 1) * shape_.features;
  }
}

std::vector<float> Core::level_weights() const {
  std::vector<float> weights;
  for (const Level& level : shape_.levels) weights.push_back(level.weight);
  return weights;
}

std::array<double, Core::kPhases> Core::phase_seconds() const {
  std::array<double, kPhases> total{};
  for (const auto& worker : workers_)
    for (size_t i = 0; i < kPhases; i++) total[i] += worker->seconds[i] / pool_.threads();
  return total;
}

void Core::clock(Worker& worker, Phase phase) {
  const auto now = std::chrono::steady_clock::now();
  worker.seconds[phase] += std::chrono::duration<double>(now - worker.mark).count();
  worker.mark = now;
}

void Core::reserve(int64_t tiles) {
  if (tiles * tile_floats_ > tiles_.size()) tiles_ = Floats(tiles * tile_floats_);
  if (tiles * kTile > df_.size()) df_ = Floats(tiles * kTile);
  if (sums_.size() == 0) sums_ = Floats(kGroups * sums_floats_);
}

Tile Core::tile_in(float* start) const {
  const int64_t inputs = int64_t(network_.inputs) * kTile, d = shape_.dimension;
  Tile tile{};
  tile.inputs = start;
  tile.jacobian = tile.inputs + inputs;
  tile.sensitivity = tile.jacobian + d * (inputs - d * kTile);
  tile.hidden = tile.sensitivity + inputs;
  tile.dgradient = tile.hidden + 5 * shape_.width * kTile;
  tile.dinputs = tile.dgradient + d * kTile;
  return tile;
}

Sums Core::sums_in(float* start) const {
  const int64_t width = shape_.width;
  Sums sums{};
  sums.weight1 = start;
  sums.weight2 = sums.weight1 + network_.inputs * width;
  sums.bias1 = sums.weight2 + width * width;
  sums.bias2 = sums.bias1 + width;
  sums.weight3 = sums.bias2 + width;
  sums.bias3 = sums.weight3 + width;
  return sums;
}

// kTile points from number `first` as rows of coordinates; those beyond n are at the origin.
void Core::load_points(const float* x, int64_t first, int64_t n, float* rows) const {
  const int d = shape_.dimension;
  for (int p = 0; p < kTile; p++)
    for (int a = 0; a < d; a++) rows[a * kTile + p] = first + p < n ? x[(first + p) * d + a] : 0;
}

// Writes the first n of a tile's rows to `out` as points.
static void store_points(const float* rows, int d, int64_t first, int64_t n, float* out) {
  const int count = int(std::min<int64_t>(kTile, n - first));
  for (int p = 0; p < count; p++)
    for (int a = 0; a < d; a++) out[(first + p) * d + a] = rows[a * kTile + p];
}

// Features of the levels that are on; those of a level that is off, below one that is on, are 0.
void Core::encode(const Tile& tile, bool with_jacobian) const {
  const int d = shape_.dimension, features = shape_.features, all = network_.inputs - d;
  const float* table = values.data() + table_start_;
  for (int l = 0; d + l * features < network_.used; l++) {
    const Level& level = shape_.levels[size_t(l)];
    float* value = tile.inputs + (d + l * features) * kTile;
    float* jacobian = tile.jacobian + l * features * kTile;
    if (level.weight != 0) {
      kernels_.encode(level, shape_.bound, table, tile.inputs, value, with_jacobian ? jacobian : nullptr, all * kTile);
      continue;
    }
    const size_t bytes = sizeof(float) * size_t(features * kTile);
    memset(value, 0, bytes);
    for (int a = 0; a < d; a++) memset(jacobian + a * all * kTile, 0, bytes);
  }
}

void Core::forward(const float* x, int64_t n, float* f, float* g) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const int64_t tiles = (n + kTile - 1) / kTile, size = (tiles + kGroups - 1) / kGroups;
  reserve(tiles);
  pool_.run(int(tiles ? (tiles + size - 1) / size : 0), [&](int group, int thread) {
    Worker& worker = *workers_[size_t(thread)];
    const int64_t begin = group * size, end = std::min(begin + size, tiles);
    clock(worker);
    for (int64_t i = begin; i < end; i++) {
      load_points(x, i * kTile, n, tile(i).inputs);
      encode(tile(i), true);
    }
    clock(worker, kFeatures);
    for (int64_t i = begin; i < end; i++) {
      float value[kTile], slope[3 * kTile];
      kernels_.forward(network_, tile(i), value, slope, worker.scratch.data());
      store_points(value, 1, i * kTile, n, f);
      store_points(slope, shape_.dimension, i * kTile, n, g);
    }
    clock(worker, kMlp);
  });
  pending_ = n;
}

void Core::backward(const float* df, const float* dg) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const int64_t n = pending_, tiles = (n + kTile - 1) / kTile, size = (tiles + kGroups - 1) / kGroups;
  const int groups = int(tiles ? (tiles + size - 1) / size : 0);
  pool_.run(groups, [&](int group, int thread) {
    Worker& worker = *workers_[size_t(thread)];
    const int64_t begin = group * size, end = std::min(begin + size, tiles);
    clock(worker);
    std::vector<Tile> views;
    for (int64_t i = begin; i < end; i++) {
      views.push_back(tile(i));
      load_points(dg, i * kTile, n, views.back().dgradient);
      for (int64_t p = i * kTile; p < (i + 1) * kTile; p++) df_[p] = p < n ? df[p] : 0;
    }
    kernels_.backward(network_, views.data(), df_.data() + begin * kTile, int(views.size()),
                      sums_in(sums_.data() + group * sums_floats_), worker.scratch.data());
    clock(worker, kMlp);
  });
  std::vector<int> active;
  for (size_t l = 0; l < shape_.levels.size(); l++)
    if (shape_.levels[l].weight != 0) active.push_back(int(l));
  // A row is only ever added to by one task, point after point; few levels for many threads are split by rows.
  const int levels = int(active.size()), parts = levels ? (2 * pool_.threads() + levels - 1) / levels : 0;
  if (groups == 0) return;
  pool_.run(1 + levels * parts, [&](int task, int thread) {
    Worker& worker = *workers_[size_t(thread)];
    clock(worker);
    if (task == 0) {
      collect_sums(groups);
      clock(worker, kMlp);
    } else {
      const int level = active[size_t((task - 1) / parts)], part = (task - 1) % parts;
      const int64_t rows = shape_.levels[size_t(level)].rows;
      scatter(level, int32_t(rows * part / parts), int32_t(rows * (part + 1) / parts));
      clock(worker, kScatter);
    }
  });
  for (const int level : active) touched_[size_t(level)] = 1;
}

void Core::scatter(int level, int32_t first_row, int32_t last_row) {
  const int64_t tiles = (pending_ + kTile - 1) / kTile;
  const int row = shape_.dimension + level * shape_.features;
  for (int64_t i = 0; i < tiles; i++) {
    const Tile at = tile(i);
    kernels_.scatter(shape_.levels[size_t(level)], shape_.bound, gradient.data() + table_start_, at.inputs, at.dgradient,
                     at.dinputs + row * kTile, at.sensitivity + row * kTile, first_row, last_row);
  }
}

// Adds the groups' sums, in order, to the network's gradient.
void Core::collect_sums(int groups) {
  float* total = sums_.data();
  for (int group = 1; group < groups; group++)
    for (int64_t i = 0; i < sums_floats_; i++) total[i] += total[group * sums_floats_ + i];
  const Sums sums = sums_in(total);
  const int width = shape_.width, inputs = network_.inputs;
  float* to = gradient.data();
  const auto add = [&](int place, const float* from, int columns) {
    float* out = to + places_[size_t(place)].offset;
    for (int64_t r = 0; r < places_[size_t(place)].rows; r++)
      for (int c = 0; c < columns; c++) out[r * columns + c] += from[columns > 1 ? c * width + r : r];
  };
  add(0, sums.weight1, inputs);
  add(1, sums.bias1, 1);
  add(2, sums.weight2, width);
  add(3, sums.bias2, 1);
  add(4, sums.weight3, 1);
  add(5, sums.bias3, 1);
}

void Core::adam(float table_rate, float network_rate, float beta1, float beta2, float epsilon) {
  const std::lock_guard<std::mutex> lock(mutex_);
  step_count++;
  const double correction1 = 1 - std::pow(double(beta1), double(step_count));
  const double correction2 = 1 - std::pow(double(beta2), double(step_count));
  AdamStep network_step{float(network_rate / correction1), float(1 / std::sqrt(correction2)), beta1, beta2, epsilon};
  AdamStep table_step = network_step;
  table_step.rate = float(table_rate / correction1);
  // Whole vectors that contain touched levels, merged so that no two tasks share one.
  std::vector<std::pair<int64_t, int64_t>> ranges;
  for (size_t l = 0; l < touched_.size(); l++) {
    if (!touched_[l]) continue;
    const int64_t begin = shape_.levels[l].offset * shape_.features, end = begin + shape_.levels[l].rows * shape_.features;
    ranges.emplace_back(begin / kAlign * kAlign, round_up(end, kAlign));
    touched_[l] = 0;
  }
  std::sort(ranges.begin(), ranges.end());
  std::vector<std::pair<int64_t, int64_t>> tasks;
  int64_t done = 0;
  for (const auto& range : ranges)
    for (int64_t begin = std::max(range.first, done); begin < range.second; begin = done) {
      done = std::min(begin + kAdamTask, range.second);
      tasks.emplace_back(begin, done);
    }
  const auto step = [&](auto kernel, const AdamStep& adam_step, int64_t begin, int64_t count) {
    kernel(adam_step, values.data() + begin, first.data() + begin, second.data() + begin, gradient.data() + begin, count);
  };
  pool_.run(1 + int(tasks.size()), [&](int task, int thread) {
    Worker& worker = *workers_[size_t(thread)];
    clock(worker);
    if (task == 0) {
      step(kernels_.adam, network_step, 0, table_start_);
    } else {
      const auto& range = tasks[size_t(task - 1)];
      step(kernels_.adam_rows, table_step, table_start_ + range.first, range.second - range.first);
    }
    clock(worker, kAdam);
  });
}

void Core::evaluate(const float* x, int64_t n, float* f, float* g) {
  const std::lock_guard<std::mutex> lock(mutex_);
  constexpr int64_t size = 8;  // tiles a task
  const int64_t tiles = (n + kTile - 1) / kTile;
  pool_.run(int((tiles + size - 1) / size), [&](int group, int thread) {
    Worker& worker = *workers_[size_t(thread)];
    const Tile tile = tile_in(worker.tile.data());
    for (int64_t i = group * size; i < std::min((group + 1) * size, tiles); i++) {
      float value[kTile], slope[3 * kTile];
      load_points(x, i * kTile, n, tile.inputs);
      encode(tile, g != nullptr);
      if (g) {
        kernels_.forward(network_, tile, value, slope, worker.scratch.data());
        store_points(slope, shape_.dimension, i * kTile, n, g);
      } else {
        kernels_.value(network_, tile.inputs, value, worker.scratch.data());
      }
      store_points(value, 1, i * kTile, n, f);
    }
  });
}

}  // namespace igr
