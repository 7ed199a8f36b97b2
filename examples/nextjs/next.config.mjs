const version = process.env.SUBSTITUTE_COMMIT ?? "";

export default {
  output: "standalone", // a server with what it needs, and without the rest of node_modules
  deploymentId: version, // a browser that has an earlier version loads the next page as a whole
  async headers() {
    return [{ source: "/:path*", headers: [{ key: "X-Version", value: version }] }];
  },
};
