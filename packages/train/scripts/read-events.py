"""Reads a folder of event files with TensorBoard's own reader and prints what is in it as JSON.

For developers: `pip install tensorboard`, then
`NF_TENSORBOARD_PYTHON=/path/to/python npx vitest run packages/train/tests/node.test.ts`.
"""

import json
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0, "histograms": 0, "images": 0, "tensors": 0})
events.Reload()
tags = events.Tags()
print(
    json.dumps(
        {
            "scalars": {tag: [[one.step, one.value] for one in events.Scalars(tag)] for tag in tags["scalars"]},
            "histograms": {
                tag: [
                    {
                        "step": one.step,
                        "min": one.histogram_value.min,
                        "max": one.histogram_value.max,
                        "num": one.histogram_value.num,
                        "sum": one.histogram_value.sum,
                        "limits": list(one.histogram_value.bucket_limit),
                        "buckets": list(one.histogram_value.bucket),
                    }
                    for one in events.Histograms(tag)
                ]
                for tag in tags["histograms"]
            },
            "texts": {
                tag: [[one.step, [text.decode() for text in one.tensor_proto.string_val]] for one in events.Tensors(tag)]
                for tag in tags["tensors"]
            },
            "images": {
                tag: [[one.step, one.width, one.height, len(one.encoded_image_string)] for one in events.Images(tag)]
                for tag in tags["images"]
            },
        }
    )
)
