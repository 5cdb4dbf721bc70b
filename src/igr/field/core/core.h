// The native field: parameters, their moments, and the passes over tiles of points that train and evaluate it.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <vector>

#include "kernels.h"
#include "threads.h"
#include "variants.h"

namespace igr {

// Aligned floats, cleared; in large pages where the system offers them, because features are read at random
// places.
class Floats {
 public:
  Floats() = default;
  explicit Floats(int64_t size);
  float* data() const { return data_.get(); }
  int64_t size() const { return size_; }
  float& operator[](int64_t i) const { return data_[size_t(i)]; }

 private:
  struct Free {
    size_t align;
    void operator()(float* data) const { ::operator delete[](data, std::align_val_t(align)); }
  };
  std::unique_ptr<float[], Free> data_{nullptr, Free{64}};
  int64_t size_ = 0;
};

struct Shape {
  int dimension, features, width, threads;
  float beta, bound;
  std::vector<Level> levels;
};

inline int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

// One parameter's place in the flat arrays of values, moments and gradients.
struct Place {
  const char* name;
  int64_t offset, rows, columns;  // columns is 0 for a vector
};

// Every call has the core to itself: Python may call from several threads. Where memory runs out a call throws
// std::bad_alloc before it has changed anything, and the same call may be made again.
class Core {
 public:
  // Throws std::invalid_argument if the sizes or the instruction set are not available.
  Core(const Shape& shape, const std::string& instruction_set);

  // Value and gradient at x (n, d), row after row; keeps what `backward` needs.
  void forward(const float* x, int64_t n, float* f, float* g);
  // Derivatives of a loss, given dL/df and dL/d∇f (rows of d) at the last forward's points; replaces earlier ones.
  // Throws std::invalid_argument if there are not as many of them as there were points.
  void backward(const float* df, int64_t df_count, const float* dg, int64_t dg_count);
  // One step of Adam with them, table and network with their own learning rates. The table's derivatives only
  // exist here, level by level, so that they stay in cache from being summed to being used.
  void adam(float table_rate, float network_rate, float beta1, float beta2, float epsilon);
  // All derivatives in one array, laid out as `values`; for looking at, training does not need it.
  const Floats& gradient();
  // Value and, unless null, gradient at any number of points, with bounded memory; nothing is kept.
  void evaluate(const float* x, int64_t n, float* f, float* g);

  void set_level_weights(const float* weights);
  std::vector<float> level_weights() const;
  int64_t step_count() const;
  void set_step_count(int64_t count);

  enum Phase { kFeatures, kMlp, kScatter, kAdam, kPhases };
  // Time spent so far in each phase, summed over threads and divided by their number.
  std::array<double, kPhases> phase_seconds() const;

  const Shape& shape() const { return shape_; }
  const std::string& instruction_set() const { return instruction_set_; }
  const std::vector<Place>& places() const { return places_; }
  int inputs() const { return network_.inputs; }

  // Adam's moments, 0 at first. A field that is only read never asks for them: until then they take no memory.
  struct Moments {
    Floats first, second;
  };
  const Moments& moments();

  Floats values;

 private:
  struct Worker {
    Floats scratch, tile;  // the tile is for `evaluate`
    Floats rows;           // derivatives of a part of a level's rows, and the blocks touched; 0 between tasks
    std::vector<uint8_t> marks;
    std::array<double, kPhases> seconds{};
    std::chrono::steady_clock::time_point mark{};
  };
  // Rows of a level that one task sums and updates: no two tasks share a row.
  struct Part {
    int level;
    int32_t first_row, last_row;
  };

  using Lock = std::lock_guard<std::mutex>;
  void reserve(int64_t tiles);
  Tile tile_in(float* start) const;
  Tile tile(int64_t index) const { return tile_in(tiles_.data() + index * tile_floats_); }
  void load_points(const float* x, int64_t first, int64_t n, float* rows) const;
  void encode(const Tile& tile, bool with_jacobian) const;
  Sums sums_in(float* start) const;
  void collect_sums();
  std::vector<Part> parts() const;
  int64_t table_at(const Part& part) const {  // where a part's numbers begin in `values`
    return table_start_ + (shape_.levels[size_t(part.level)].offset + part.first_row) * shape_.features;
  }
  int32_t rows_before(const Part& part) const {  // so that its blocks coincide with the table's lines of cache
    return int32_t((shape_.levels[size_t(part.level)].offset + part.first_row) % (kBlock / shape_.features));
  }
  void reserve_rows(const std::vector<Part>& parts, int workers) const;
  RowSums row_sums(Worker& worker, const Part& part) const;
  void scatter(const Part& part, const RowSums& sums) const;
  void need_backward() const;
  void need_moments();
  void clock(Worker& worker) { worker.mark = std::chrono::steady_clock::now(); }
  void clock(Worker& worker, Phase phase);

  Shape shape_;
  std::string instruction_set_;
  Kernels kernels_;
  Network network_;
  std::vector<Place> places_;
  int64_t table_start_ = 0, sums_floats_ = 0, tile_floats_ = 0;
  Moments moments_;
  Floats tiles_, df_, sums_, gradient_;
  int groups_ = 0;  // of tiles whose `sums_` await being collected
  std::vector<std::unique_ptr<Worker>> workers_;
  int64_t pending_ = -1;  // points of the last forward, -1 if no backward may follow
  bool derived_ = false;  // whether backward followed the last forward
  int64_t step_count_ = 0;
  mutable std::mutex mutex_;
};

}  // namespace igr
