from django.db import transaction
from django.http import FileResponse, Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from .forms import OrderForm
from .models import Job, Order


def orders(request):
    form = OrderForm(request.POST or None, request.FILES or None)
    if form.is_valid():
        with transaction.atomic():  # no order without its job
            made = form.save()
            Job.objects.create(order=made)
        return redirect(made)
    return render(request, "shop/orders.html", {"form": form, "orders": Order.objects.order_by("-pk")[:20]})


def order(request, pk):
    return render(request, "shop/order.html", {"order": get_object_or_404(Order, pk=pk)})


def attachment(request, pk):
    found = get_object_or_404(Order, pk=pk).attachment
    if not found:
        raise Http404
    return FileResponse(found.open(), as_attachment=True)


def up(request):
    """Whether this version can work: it needs the database, with its own migrations."""
    Order.objects.first()
    return HttpResponse("ok", content_type="text/plain")
