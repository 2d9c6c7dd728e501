"""The default config: the published recipe, with every field explained.

The other configs call `get_config` and override a few fields. All take a model as
argument: `--config=configs/voc.py:emanet_r50`. Any field can be set on the command
line: `--config.optimizer.learning_rate=0.01`.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config(model_name: str = "emanet_r101") -> ConfigDict:
    """A model on PASCAL VOC 2012, output stride 8, 30 000 steps of 16 images."""
    config = ConfigDict()
    # Seed of the initial parameters, of dropout, and of order and augmentation.
    config.seed = 0
    # Number of updates.
    config.num_steps = 30_000
    # In its place, passes over the training images, where their number is to decide;
    # but at least and at most so many updates.
    config.num_epochs = placeholder(float)
    config.min_steps = 1
    config.max_steps = 1_000_000
    # Images of an update, over all devices of all processes.
    config.batch_size = 16
    config.model = model(model_name)
    config.data = data()
    config.loss = loss()
    config.optimizer = optimizer()
    config.mesh = mesh()
    config.evaluation = evaluation()
    config.checkpoint = checkpoint()
    # Updates between two lines of training figures, and TensorBoard points.
    config.log_every = 50
    # End after so many evaluations in a row of which none was better by
    # `checkpoint.best`; None: never before num_steps.
    config.early_stop = placeholder(int)
    # What to do where a loss, a gradient or an update is not finite: "stop", with the
    # last checkpoint kept, or "skip" that update; so many skips in a row stop too.
    config.non_finite = "stop"
    config.max_non_finite = 100
    return config.lock()  # a mistyped field of a config that begins here is an error


def model(name: str = "emanet_r101") -> ConfigDict:
    """The network. Fields that are None keep the value of the named model."""
    config = ConfigDict()
    # A name of ema_jax.MODELS.
    config.name = name
    # What to start from: "imagenet", the published weights of the backbone, which are
    # fetched once (`main.py weights` lists them); a file, .pth or .safetensors, of a
    # whole network or a backbone alone; "hf:ORG/REPO" or "hf:ORG/REPO/FILE", such a
    # file on the Hugging Face hub; or "random" weights. The first layer of weights for
    # three channels is adapted to in_channels.
    config.pretrained = placeholder(str)
    # Channels of the images: None, three; one makes grey of colours; another number is
    # what the files have.
    config.in_channels = placeholder(int)
    # Keep the classifier at its random init: the file's is for other classes.
    config.drop_classifier = False
    # Take weights with NaN or infinity as they are, instead of refusing them.
    config.allow_non_finite = False
    # Compute type, "float32" or "bfloat16". Parameters, statistics and EM sums stay
    # float32.
    config.dtype = "float32"
    # Pixels of the image for each pixel of the features: 8, 16 or 32. None: 16 with a
    # light backbone, 8 with any other.
    config.output_stride = placeholder(int)
    # Dropout rate of whole channels before the classifier.
    config.dropout_rate = 0.1
    # Share of the old running statistics that batch normalisation keeps each step.
    # Lower it for short trainings: the statistics need several times 1/(1-decay) steps.
    config.bn_decay = 0.9997
    # The backbone's batch normalisation uses its running statistics in training too,
    # and leaves them as they are: for few images, and weights that know many.
    config.freeze_bn = placeholder(bool)
    # A second head on the third stage, for the auxiliary loss of a training.
    config.auxiliary_head = placeholder(bool)
    # Context modules and FCN: refine at stride 4, by DeepLabV3+'s decoder with so many
    # channels, for small things and borders. None: as published, no decoder.
    config.decoder_channels = placeholder(int)
    # Add the logits of the last stage to the decoder's, which then has only the detail
    # to learn: with many classes it gets there sooner.
    config.coarse_logits = placeholder(bool)
    # The rest are options of some models alone; giving one to another is an error.
    # EM attention (the NMF of "hamburger_…" has some of the same names):
    # K, the number of bases, of each head; heads split the channels.
    config.num_bases = placeholder(int)
    config.num_heads = placeholder(int)
    # T, the EM iterations in training, 3 as published, and in evaluation, the same.
    config.num_iters = placeholder(int)
    config.eval_iters = placeholder(int)
    # Height and width, in pixels of the features (output_stride of the image), of
    # overlapping windows that each have their own EM in evaluation, the backbone seeing
    # the image once: (33, 33) is a crop of 257 at stride 8. None: the whole image.
    config.eval_window = placeholder(tuple)
    # How the initial bases are kept: "moving_average" with this decay, 0.9 as
    # published, "gradient" (trained) or "none" (fixed).
    config.bases_update = placeholder(str)
    config.bases_decay = placeholder(float)
    # L2-normalise the mean of the batch before the moving average (OpenMMLab), or the
    # average itself; keep images that are not finite out of it.
    config.normalize_batch_mean = placeholder(bool)
    config.renormalize_average = placeholder(bool)
    config.skip_non_finite = placeholder(bool)
    # "dot" or "gaussian".
    config.kernel = placeholder(str)
    # Normalisation of the bases after each M step: "l2", "layer" or "none".
    config.normalization = placeholder(str)
    # Gradient through EM: "stop" (as published), "last_step", "unroll", "implicit".
    config.gradient = placeholder(str)
    # "soft" responsibilities, or "hard" ones: each pixel to one basis.
    config.assignment = placeholder(str)
    # Of the Gaussian kernel: variances "fixed" at 1/λ, or estimated, "spherical" or
    # "diagonal", not below a floor; shares of the bases "uniform" or "learned".
    config.covariance = placeholder(str)
    config.variance_floor = placeholder(float)
    config.mixing = placeholder(str)
    # λ, the inverse temperature of the E step, 1 as published; learned from there.
    config.temperature = placeholder(float)
    config.learn_temperature = placeholder(bool)
    # EM and non-local attention: begin as a network without them, by a zero scale of
    # the unit's BN. None: non-local does, as published; EM does not.
    config.zero_init = placeholder(bool)
    # Non-local attention: for how many pixels at a time, where the N² weights of all
    # do not fit; and "xla" or "cudnn", the fused kernel of NVIDIA GPUs, in bfloat16.
    config.query_chunk = placeholder(int)
    config.implementation = placeholder(str)
    # The DeepLabs: the branch of the pyramid that sees the mean over the image.
    config.image_pooling = placeholder(bool)
    # PSANet: side of its over-complete map, odd; None: what covers the crops.
    config.map_size = placeholder(int)
    return config


def data() -> ConfigDict:
    """What the network is trained and evaluated on."""
    config = ConfigDict()
    # A name of train.data.DATASETS: "shapes", "folder", "voc2012", "voc2012aug", …
    config.name = "voc2012"
    # Where the files of the set are, packed or unpacked; "shapes" needs none, and sets
    # that may be fetched without registration are fetched where this is None.
    config.root = placeholder(str)
    # Where prepared records and downloads go; None: the default of
    # tensorflow-datasets.
    config.data_dir = placeholder(str)
    # Pairs of a class and the one to which it is joined, or "ignore": (("car",
    # "vehicle"), ("bus", "vehicle"), ("sky", "ignore")).
    config.label_map = ()
    # Of "folder" alone: the name of an image's mask, such as "{}_mask.png"; the share
    # of the images that is taken for validation where nothing says which are, and a
    # regular expression for the part of a name that keeps images together then, such
    # as "^[^_]+"; what is black and white in images of more than 8 bits, such as
    # (0, 4095), which is measured else.
    config.mask_pattern = placeholder(str)
    config.val_share = placeholder(float)
    config.group_pattern = placeholder(str)
    config.value_range = placeholder(tuple)
    config.train_split = "train"
    config.val_split = "val"
    # Draw images of rare classes more often: √(this / f) times, where fewer than this
    # share of the images hold a class, and f do (0.3, say; None: all as often). The
    # length of a training stays.
    config.repeat_rare = placeholder(float)
    # Factors, one of which scales each training image.
    config.scales = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
    # Height and width of the random crop; 8k+1 aligns the corners.
    config.crop_size = (513, 513)
    # Mirror half of the training images.
    config.flip = True
    # How much to vary brightness, contrast, saturation and hue of a training image, at
    # random, as torchvision's ColorJitter does: (0.4, 0.4, 0.4, 0.1).
    config.color_jitter = (0.0, 0.0, 0.0, 0.0)
    # Your own function, "module:function", called before all that as (image, label,
    # rng); it returns image and label.
    config.augment = placeholder(str)
    # Decoding threads of a process, and examples they keep ready.
    config.num_threads = 4
    config.prefetch = 64
    # What to do where a record cannot be decoded: "stop", or "skip" it: in training the
    # next one stands for it, in evaluation nothing; more than so many stop too.
    config.corrupt = "stop"
    config.max_corrupt = 10
    # What to do where the data look as if a training were in vain, such as a class that
    # no mask holds, or one image in both splits: "stop", or "warn" and go on.
    config.suspicious = "stop"
    return config


def loss() -> ConfigDict:
    """What is minimised: a weighted sum of losses."""
    config = ConfigDict()
    # The weight of each. Of pixels: cross-entropy, and focal loss. Of the regions that
    # the classes of an image are: Dice, and Lovász-softmax.
    config.cross_entropy = 1.0
    config.focal = 0.0
    config.dice = 0.0
    config.lovasz = 0.0
    # Weight of each class in the losses of pixels: numbers, one for each class;
    # "balanced", the median of the frequencies over that of the class, "balanced_log",
    # 1 / ln(1.02 + share); None: 1.
    config.class_weights = placeholder(object)
    # Share of cross-entropy that is over all classes, as if any could be right.
    config.label_smoothing = 0.0
    # Exponent of focal loss: the higher, the less do easy pixels count.
    config.gamma = 2.0
    return config


def optimizer() -> ConfigDict:
    """SGD: lr · (1 - step/num_steps)^power, decay on weights alone."""
    config = ConfigDict()
    config.learning_rate = 0.009
    config.power = 0.9
    # The rate changes only at steps that this divides.
    config.hold_steps = 10
    config.momentum = 0.9
    config.weight_decay = 1e-4
    # Factor on the rate of all biases.
    config.bias_rate = 2.0
    # Factor on all rates of the backbone; 0 leaves its parameters as they are.
    config.backbone_rate = 1.0
    # Weight of the auxiliary loss, of models that have an auxiliary head.
    config.auxiliary_weight = 0.4
    # Mean of the loss over "all" pixels, ignored ones counting zero, or "valid" ones.
    config.pixel_mean = "all"
    # Online hard example mining: only pixels whose class has a lower probability than
    # this learn (None: all do), and at least so many of the batch.
    config.ohem_threshold = placeholder(float)
    config.ohem_min_kept = 100_000
    # Pieces of the batch, taken one after the other: less memory, one update. Each has
    # its own batch statistics, moves the running ones and μ⁰, and has its mean of the
    # loss; which images form a piece depends on the number of devices.
    config.accumulation = 1
    # Groups of images, each with its own batch statistics; 1: those of the whole
    # batch. With one for each device they need no exchange.
    config.norm_groups = 1
    return config


def mesh() -> ConfigDict:
    """How a training is split over devices; it computes the same, up to rounding."""
    config = ConfigDict()
    # Devices over which the rows of each image are split, where one image is too large
    # for one device; the images are split over the others.
    config.space = 1
    # Each device keeps its part of the momentum only, and makes that part of the
    # update.
    config.shard_optimizer = False
    # On TPUs, with few images a chip: leave the compiler to cut them into pieces that
    # it takes as a larger batch. It moves twice the bytes and more.
    config.space_to_batch = False
    return config


def evaluation() -> ConfigDict:
    """Whole images of the validation split."""
    config = ConfigDict()
    # Updates between two evaluations; the last update is always evaluated.
    config.every = 2_000
    # In its place, how many evaluations a training has, however long it is.
    config.times = placeholder(int)
    # Images of a batch, over all devices of all processes.
    config.batch_size = 16
    # Images share canvases of sides 1 modulo this, or larger ones of other images where
    # these are few; each canvas compiles once.
    config.canvas_multiple = 128
    # Factors at which each image is seen, and whether its mirror image is seen too;
    # the logits are summed. `evaluate --multi_scale --flip` sets both.
    config.scales = (1.0,)
    config.flip = False
    # Height and width, 8k+1 each, of overlapping windows through which an image is
    # seen whose whole does not fit into memory; None: whole images.
    config.window = placeholder(tuple)
    # Images of the picture panel; 0: no pictures, in the report neither.
    config.num_pictures = 4
    return config


def checkpoint() -> ConfigDict:
    """What a run leaves behind, and resumes from."""
    config = ConfigDict()
    # Updates between two checkpoints; each evaluation saves one too.
    config.every = 500
    # How many of the newest to keep, and of the best.
    config.keep_last = 2
    config.keep_best = 1
    # By what they are best on the validation split: None, the mean IoU; "loss", the
    # lowest cross-entropy; or classes, ("pole", "bicyclist"), the mean of their IoU.
    config.best = placeholder(object)
    return config
