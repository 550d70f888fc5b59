# docker build -t bnexp . && docker run --rm bnexp                          the demo
# docker run --rm -v "$PWD:/work" bnexp train demo --set model.norm=ln      anything else, with runs in this folder
FROM python:3.11-slim

# The index that wheels of torch for a CPU come from, if yours is another: --build-arg TORCH_INDEX=--index-url=...
ARG TORCH_INDEX=""

COPY . /source
RUN pip install --no-cache-dir --no-compile ${TORCH_INDEX} torch torchvision -c /source/constraints.txt \
    && pip install --no-cache-dir --no-compile /source -c /source/constraints.txt \
    && rm -r /source \
    && useradd --create-home bnexp && mkdir /work && chown bnexp /work

USER bnexp
WORKDIR /work
ENTRYPOINT ["bnexp"]
CMD ["demo"]
