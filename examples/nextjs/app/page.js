export const dynamic = "force-dynamic"; // made for each request, not at the build

export default function Home() {
  return <p>hello from next</p>;
}
