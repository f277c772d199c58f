# The image of every container but the broker's: the command line, the public API, and the agents of stack/.
# Debian, since the native modules sodium-native and fs-native-extensions are built for glibc.
FROM node:20-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY src src
# Then only what runs stays: no tools of development, and native modules for this kind of machine alone.
RUN npm run build \
  && npm prune --omit=dev --ignore-scripts --no-audit --no-fund \
  && find node_modules -path '*/prebuilds/*' -prune ! -name "linux-$(node -p process.arch)" -exec rm -rf {} +

FROM node:20-bookworm-slim
ENV NODE_ENV=production
WORKDIR /app
COPY package.json LICENSE ./
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/dist dist
COPY stack stack
# A new volume takes its owner from the folder that it is mounted over.
RUN chmod 755 dist/cli/main.js \
  && ln -s /app/dist/cli/main.js /usr/local/bin/subrosa \
  && for volume in realm broker jetstream rotator-1 rotator-2 rotator-3 orders billing; do \
    mkdir -p -m 700 "/volumes/$volume" && chown 1000:1000 "/volumes/$volume"; \
  done
USER 1000:1000
CMD ["subrosa", "--help"]
