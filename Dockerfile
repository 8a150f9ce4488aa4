# The image of every role: Node, the C libraries that it loads, and the bundle; no shell, no package manager.
#
#   BASE        has Node 24 in /usr/local/bin and glibc, of the architecture that the image is for: node:24-bookworm
#   BUILD_BASE  has Node 24 and npm, of the architecture that builds; BASE where it is not given
#
# For another architecture, give both, and --platform: BASE=arm64v8/node:24-bookworm BUILD_BASE=node:24-bookworm.
# Behind a proxy with a certificate authority of its own, give its bundle: --secret id=ca,src=bundle.pem.
ARG BASE
ARG BUILD_BASE=${BASE}

FROM ${BUILD_BASE} AS build
WORKDIR /build
COPY package.json package-lock.json .npmrc ./
RUN --mount=type=secret,id=ca,target=/run/secrets/ca.pem NODE_EXTRA_CA_CERTS=/run/secrets/ca.pem npm ci --ignore-scripts
COPY build.ts tsconfig.json ./
COPY src src
RUN node build.ts

FROM ${BASE} AS root
# ldd names what is linked; name resolution loads the rest when it is needed. Symbols for debuggers are a tenth of Node.
RUN set -eu; \
    mkdir -p /root.new/usr/local/bin /root.new/etc /root.new/tmp; \
    chmod 1777 /root.new/tmp; \
    cp /usr/local/bin/node /root.new/usr/local/bin/node; \
    if command -v strip > /dev/null; then strip --strip-unneeded /root.new/usr/local/bin/node; fi; \
    loaded=$(ldd /usr/local/bin/node | grep -o '/[^ ]*\.so[^ ]*'); \
    libraries=$(dirname "$(ldd /usr/local/bin/node | grep -o '/[^ ]*/libc\.so[^ ]*')"); \
    for library in $loaded "$libraries/libresolv.so.2" "$libraries/libnss_dns.so.2" "$libraries/libnss_files.so.2"; do \
      [ -e "$library" ] || continue; \
      mkdir -p "/root.new$(dirname "$library")"; \
      cp -L "$library" "/root.new$library"; \
    done; \
    echo 'hosts: files dns' > /root.new/etc/nsswitch.conf; \
    echo 'postern:x:65532:65532::/:/sbin/nologin' > /root.new/etc/passwd; \
    echo 'postern:x:65532:' > /root.new/etc/group

FROM scratch
LABEL org.opencontainers.image.title="Postern" \
      org.opencontainers.image.description="API keys for Kubernetes workloads, declared as resources and checked by a sidecar" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=root /root.new/ /
# package.json tells Node that the bundle consists of modules.
COPY LICENSE package.json /postern/
COPY --from=build /build/dist/ /postern/
ENV PATH=/usr/local/bin
WORKDIR /
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/node", "/postern/postern.js"]
