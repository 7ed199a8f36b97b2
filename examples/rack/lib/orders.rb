require "fileutils"
require "securerandom"

# Orders, and the jobs that they make. They are files in `data`, the same directory for both slots. To rename a file is
# one step: of several workers one gets a job, and who reads an order reads all of it.
module Orders
  DATA = File.expand_path("../data", __dir__)
  DIRECTORIES = %w[new orders waiting taken done invoices]

  module_function

  # What is missing is made, so it may run again.
  def prepare
    DIRECTORIES.each { |name| FileUtils.mkdir_p(path(name)) }
  end

  def add(text)
    id = SecureRandom.hex(8)
    File.binwrite(path("new", id), text)
    File.rename(path("new", id), path("orders", id))
    FileUtils.touch(path("waiting", id))
    id
  end

  def text(id)
    File.binread(path("orders", id))
  rescue Errno::ENOENT
    nil
  end

  # A job that nobody else has taken.
  def take
    Dir.children(path("waiting")).find do |id|
      File.rename(path("waiting", id), path("taken", id))
    rescue Errno::ENOENT
      nil # another worker has it
    end
  end

  # A worker that was killed left these.
  def put_back
    Dir.children(path("taken")).each { |id| File.rename(path("taken", id), path("waiting", id)) }
  end

  def write_invoice(id)
    File.open(path("invoices", id), "a") do |file|
      file.puts "Invoice"
      sleep 0.1 # in place of real work
      file.puts text(id)
    end
    File.rename(path("taken", id), path("done", id))
  end

  def path(*names)
    File.join(DATA, *names)
  end
end
