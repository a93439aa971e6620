// The file of a trained processor: which of a layer's tensors it holds, and what options follow.
#pragma once

#include <string>

#include "server/attention/attention_layer.h"
#include "server/attention/processor_options.h"
#include "server/attention/processor_table.h"
#include "server/base/status.h"
#include "server/weights/weight_store.h"

namespace unetd {

// Behind "<layer>.processor.", as save_attn_procs writes them.
inline constexpr char kTrainedK[] = "to_k_custom_diffusion.weight";
inline constexpr char kTrainedV[] = "to_v_custom_diffusion.weight";
inline constexpr char kTrainedQ[] = "to_q_custom_diffusion.weight";
inline constexpr char kTrainedOut[] = "to_out_custom_diffusion.0.weight";
inline constexpr char kTrainedOutBias[] = "to_out_custom_diffusion.0.bias";

std::string TrainedName(const AttentionLayer& layer, const char* tensor);

// Whether the store holds anything of the layer's processor.
bool HoldsTrained(const WeightStore& store, const AttentionLayer& layer);

// Sets train_kv, train_q_out and out_bias for one layer: as said, else as the file has it.
// `store` null: no file was given. INVALID_ARGUMENT, to be put behind the rule's JSON path, naming
// file and tensor: what is to be trained is missing, what is not is there, or a shape or a said
// size is not the layer's.
Status ResolveTrained(const ProcessorRow& row, const WeightStore* store,
                      const AttentionLayer& layer, ProcessorOptions& options);

}  // namespace unetd
